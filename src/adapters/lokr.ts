import { conv2d, linear, tf, type Tensor, type Tensor2D, type Tensor4D } from '@graft/kernels';
import type { Site } from '../models/site.js';
import { asStored } from './low-rank.js';
import { hasCore, kaiming, lycorisOptions, rankOf, scaleOf, withCore, withLycorisDropout, type LycorisConfig } from './loha.js';
import type { Init, Method, Params, ParamSpec } from './method.js';
import { targetSites } from './targets.js';

export interface LokrConfig extends LycorisConfig {
  decomposeBoth: boolean;
  decomposeFactor: number;
  rankDropoutScale: boolean;
  init: 'default' | 'lycoris';
}

/**
 * LoKr: ΔW = s · W1 ⊗ W2 with W1 [l, m] and W2 [k, n], out = l·k and in = m·n as square as the sizes divide; each whole or, where
 * its rank is worth it, a product of two. One of them is zero at the start, the identity. Names and shapes are PEFT's.
 */
const lokr: Method<LokrConfig> = {
  name: 'lokr',
  summary: 'the Kronecker product of two small matrices (LoKr)',
  factored: true,
  paper: { title: 'Navigating Text-To-Image Customization: From LyCORIS Fine-Tuning to Model Evaluation', authors: 'Yeh et al.', year: 2023, url: 'https://arxiv.org/abs/2309.14859' },
  options: {
    ...lycorisOptions,
    decomposeBoth: { type: 'boolean', default: false, describe: 'the first factor is a product of two, too' },
    decomposeFactor: { type: 'number', metavar: 'N', default: -1, min: -1, describe: 'size of the first factor; -1: as near the square root as divides' },
    rankDropoutScale: { type: 'boolean', default: false, describe: 'what rank dropout leaves counts for more' },
    init: { type: 'string', default: 'default', choices: ['default', 'lycoris'], describe: 'which factor starts at zero: the first, or (lycoris) the second' },
  },
  resolve: (config, { model }) => ({ ...config, targetModules: config.targetModules?.length ? config.targetModules : [...model.defaultTargets] }),
  sites: (model, config) => targetSites(model, config, ['linear', 'conv']),

  params(site, config) {
    const r = rankOf(site, config), { l, k, m, n } = sizes(site, config);
    const window = site.conv?.kernel ?? [];
    const area = window.reduce((a, b) => a * b, 1);
    const zero: Init = { kind: 'zeros' };
    const second = config.init === 'lycoris';
    const spec = (name: string, shape: number[], init: Init = kaiming(shape.slice(1).reduce((a, b) => a * b, 1))): ParamSpec => ({ name, shape, init });
    const W1 = config.decomposeBoth && r < Math.max(l, m) / 2
      ? [spec('lokr_w1_a', [l, r], second ? undefined : zero), spec('lokr_w1_b', [r, m])]
      : [spec('lokr_w1', [l, m], second ? undefined : zero)];
    if (r >= Math.max(k, n) / 2) return [...W1, spec('lokr_w2', [k, n, ...window], second ? zero : undefined)];
    const core = hasCore(site, config);
    const pair = core ? [[r, k], [r, n]] : [[k, r], [r, n * area]];
    return [...W1, ...(core ? [spec('lokr_t2', [r, r, ...window])] : []), spec('lokr_w2_a', pair[0]), spec('lokr_w2_b', pair[1], second ? zero : undefined)];
  },

  tokenwise: true,
  change(call, p, config) {
    const added = (): Tensor => tf.mul(product(call.site, call.x, first(p), second(p)), scaleOf(call.site, config));
    return withLycorisDropout(call, config, config.rankDropoutScale, (h) => tf.add(h, added()));
  },

  fold(site, { W, b }, _frozen, p, config) {
    const pairs = tf.mul(tf.reshape(first(p), [first(p).shape[0], 1, -1, 1]), tf.expandDims(tf.expandDims(second(p), 0), 2));
    return { W: tf.add(W, asStored(site, tf.mul(tf.reshape(pairs, [site.dimOut, -1]), scaleOf(site, config)))), b };
  },
};

export default lokr;

/** W1 [l, m]. */
const first = (p: Params): Tensor2D => (p.lokr_w1 ?? tf.matMul(p.lokr_w1_a, p.lokr_w1_b)) as Tensor2D;

/** W2 as a matrix [k, n·kh·kw]. */
function second(p: Params): Tensor2D {
  if (p.lokr_w2) return tf.reshape(p.lokr_w2, [p.lokr_w2.shape[0], -1]);
  const a = p.lokr_w2_a as Tensor2D, b = p.lokr_w2_b as Tensor2D;
  return (p.lokr_t2 ? tf.matMul(a, withCore(p.lokr_t2 as Tensor4D, b), true) : tf.matMul(a, b)) as Tensor2D;
}

/** (W1 ⊗ W2) x without the product: x as [.., m, n] goes through W2, from n to k, then through W1, from m to l. */
function product(site: Site, x: Tensor, W1: Tensor2D, W2: Tensor2D): Tensor {
  const [l, m] = W1.shape;
  const n = site.dimIn / m, k = site.dimOut / l;
  const z = site.conv ? windowed(site, x as Tensor4D, W2, m, n) : linear(tf.reshape(x, [-1, m, n]), W2);
  const place = site.conv ? z.shape.slice(0, 3) : x.shape.slice(0, -1);
  const mixed = linear(swapLast(z), W1); // [.., k, l]
  return tf.reshape(swapLast(mixed), [...place, l * k]);
}

const swapLast = (t: Tensor): Tensor => tf.transpose(t, [...t.shape.keys()].map((i) => (i < t.rank - 2 ? i : 2 * t.rank - 3 - i)));

/** The convolution by W2 of each of the m groups of channels: [B, H, W, m·n] → [B, H', W', m, k]. */
function windowed({ conv }: Site, x: Tensor4D, W2: Tensor2D, m: number, n: number): Tensor {
  const [B, H, W] = x.shape, { kernel, stride, padding } = conv!;
  const groups = tf.reshape(tf.transpose(tf.reshape(x, [B, H, W, m, n]), [0, 3, 1, 2, 4]), [B * m, H, W, n]) as Tensor4D;
  const y = conv2d(groups, tf.reshape(W2, [W2.shape[0], n, ...kernel]) as Tensor4D, null, { stride, padding });
  return tf.transpose(tf.reshape(y, [B, m, ...y.shape.slice(1)]), [0, 2, 3, 1, 4]);
}

/** out = l·k and in = m·n. */
function sizes(site: Site, { decomposeFactor }: LokrConfig): { l: number; k: number; m: number; n: number } {
  const [l, k] = factorization(site.dimOut, decomposeFactor), [m, n] = factorization(site.dimIn, decomposeFactor);
  return { l, k, m, n };
}

/** Two divisors of `size`, the smaller first: the factor and what is left where it divides, else the closest pair with the smaller at most the factor. */
export function factorization(size: number, factor: number): [number, number] {
  if (factor > 0 && size % factor === 0) return [factor, size / factor];
  const most = factor === -1 ? size : factor;
  let best = 1;
  for (let d = 2; d * d <= size && d <= most; d++) if (size % d === 0) best = d;
  return [best, size / best];
}
