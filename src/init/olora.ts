import { qr } from '@graft/kernels';
import { startFromWeights } from './from-weights.js';
import type { Initialiser } from './initialiser.js';

/**
 * OLoRA: with W = Q R, B₀ is the first r columns of Q, which are orthonormal, and A₀ the first r rows of R; what is frozen is
 * W_res = W − s·B₀A₀ (section 3).
 */
const olora: Initialiser = {
  name: 'olora',
  summary: 'B starts orthonormal, A and B as a part of the weight from its QR decomposition, which is taken out of the frozen base',
  paper: { title: 'OLoRA: Orthonormal Low-Rank Adaptation of Large Language Models', authors: 'Büyükakyüz', year: 2024, url: 'https://arxiv.org/abs/2406.01775' },
  options: {},
  needsData: false,

  run: async (start) => startFromWeights(start, 'olora', ({ M, m, n, r }) => {
    const { Q, R, k } = qr(M, m, n);
    const B = Float64Array.from({ length: m * r }, (_, i) => Q[Math.floor(i / r) * k + i % r]);
    return { A: R.slice(0, r * n), B };
  }),
};

export default olora;
