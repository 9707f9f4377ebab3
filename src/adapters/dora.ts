import { tf, untracked, type Tensor, type Tensor1D, type Tensor2D } from '@graft/kernels';
import type { Site, Weights } from '../models/site.js';
import lora, { factorsAt, scaleAt, type LoraConfig } from './lora.js';
import { addLowRank, dropped, inputFirst, overOutputs, weightDelta } from './low-rank.js';
import type { LowRankChange, Method, Params } from './method.js';
import { targetSites } from './targets.js';

const { loraBias: _, ...options } = lora.options;

/**
 * DoRA: W' = m ∘ V/‖V‖ with V = W + s·B A and ‖V‖ the norm of each output's weights (eq. 5), which takes part as a constant in the
 * backward pass (section 4.3). m is a number for each output, ‖W‖ at the start, so the graft begins as the identity.
 */
const dora: Method<LoraConfig> = {
  name: 'dora',
  summary: 'LoRA on the direction of the weights, and their magnitudes (DoRA)',
  factored: true,
  paper: { title: 'DoRA: Weight-Decomposed Low-Rank Adaptation', authors: 'Liu et al.', year: 2024, url: 'https://arxiv.org/abs/2402.09353' },
  options,
  resolve: lora.resolve,
  sites: targetSites,

  params: (site, config, model) => [
    ...lora.params(site, { ...config, loraBias: false }, model),
    { name: MAGNITUDE, shape: site.conv ? [1, site.dimOut, 1, 1] : [site.dimOut], init: { kind: 'norms', site } },
  ],

  /** y = c ∘ (W x + s·B A x) + b with c = m/‖V‖; in training with dropout W x counts in full and its rescaling sees the dropped x. */
  tokenwise: true,
  change(call, p, config) {
    const { site, x, base, pass } = call;
    const { W, b } = pass.frozen(site);
    const change = changeAt(site, p, config);
    const c = tf.div(tf.reshape(p[MAGNITUDE], [site.dimOut]), untracked(() => tf.tidy(() => norms(site, W, change))));
    const part = dropped(call, config.dropout);
    const h = base(part);
    const bias = b ? tf.sub(b, tf.mul(c, b)) : null;
    const scaled = tf.mul(c, addLowRank(site, h, part, change));
    const y = bias ? tf.add(scaled, bias) : scaled;
    return part === x ? y : tf.add(base(x), tf.sub(y, h));
  },

  fold(site, now, frozen, p, config) {
    const delta = weightDelta(site, changeAt(site, p, config));
    const V = tf.add(frozen.W, delta);
    const across = V.shape.map((_, axis) => axis).filter((axis) => axis !== (inputFirst(site) ? 1 : 0));
    const c = tf.div(tf.reshape(p[MAGNITUDE], [site.dimOut]), tf.sqrt(tf.sum(tf.square(V), across)));
    return { W: tf.mul(overOutputs(site, c), tf.add(now.W, delta)), b: rescaledBias(now, frozen, c) };
  },
};

export default dora;

const MAGNITUDE = 'lora_magnitude_vector';

const changeAt = (site: Site, p: Params, config: LoraConfig): LowRankChange => ({ ...factorsAt(site, p), scale: scaleAt(site, config) });

/** Of the bias only what earlier grafts added is rescaled. */
function rescaledBias(now: Weights, frozen: Weights, c: Tensor): Tensor1D | null {
  if (!now.b || now.b === frozen.b) return now.b;
  const added = frozen.b ? tf.sub(now.b, frozen.b) : now.b;
  return (frozen.b ? tf.add(frozen.b, tf.mul(c, added)) : tf.mul(c, added)) as Tensor1D;
}

/** ‖V‖ for each output without forming V: ‖W + s·UL‖² = ‖W‖² + 2s·⟨W, UL⟩ + s²·‖UL‖² with U [out, r] and L [r, in]. */
function norms(site: Site, W: Tensor, { A, B, scale: s }: LowRankChange): Tensor {
  const first = inputFirst(site);
  const M = tf.reshape(W, [W.shape[0], -1]) as Tensor2D;
  const [U, L] = site.kind === 'embedding' ? [tf.transpose(A), tf.transpose(B)] : [B, A];
  const crossed = tf.sum(tf.mul(tf.matMul(M, L as Tensor2D, first, true), U), 1);
  const own = tf.sum(tf.mul(tf.matMul(U as Tensor2D, tf.matMul(L as Tensor2D, L as Tensor2D, false, true)), U), 1);
  const squares = tf.add(tf.sum(tf.square(M), first ? 0 : 1), tf.add(tf.mul(crossed, 2 * s), tf.mul(own, s * s)));
  return tf.sqrt(tf.relu(squares));
}
