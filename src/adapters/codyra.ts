import { tf, type Tensor, type Tensor2D } from '@graft/kernels';
import { matrix, owners } from './blocks.js';
import lora from './lora.js';
import type { Method } from './method.js';
import { targetOptions, targetSites, type Targets } from './targets.js';

export interface CodyraConfig extends Targets {
  rank: number;
  dropout: number;
  kappa: number;
  dense: number;
  /** Set when training ended: only ranks whose gate is open are stored. */
  selected?: boolean;
}

/**
 * CoDyRA: ΔW = B diag(g) A with a gate for each rank. The first share of the steps trains A, B and g freely; then every step is followed
 * by a proximal one on g: shrink by κ, and close what lies below κ. κ rises to its maximum through 50 equal thresholds. What is left is
 * merged into the weights before the next task. A is drawn as in LoRA, g from N(0, 1), B = 0 at the start: the identity.
 */
const codyra: Method<CodyraConfig> = {
  name: 'codyra',
  summary: 'low-rank change that keeps few ranks, for tasks in sequence (CoDyRA)',
  factored: true,
  paper: {
    title: 'Adaptive Rank, Reduced Forgetting: Knowledge Retention in Continual Learning Vision-Language Models with Dynamic Rank-Selective LoRA', authors: 'Lu et al.', year: 2024,
    url: 'https://arxiv.org/abs/2412.01004',
  },
  options: {
    rank: { type: 'number', alias: 'r', metavar: 'N', default: 16, min: 1, describe: 'ranks to select from at every module' },
    dropout: { type: 'number', default: 0, min: 0, max: 1, describe: "dropout on the branch's input" },
    ...targetOptions,
    kappa: { type: 'number', default: 0.005, min: 0, describe: 'the largest threshold: at the end, gates below twice that are closed' },
    dense: { type: 'number', default: 0.5, min: 0, max: 1, describe: 'share of the steps without selection' },
  },

  resolve: (config, { model }) => ({ ...config, targetModules: config.targetModules?.length ? config.targetModules : [...model.defaultTargets] }),
  sites: (model, config) => targetSites(model, config, ['linear', 'conv']),

  params: (site, { rank, selected: _, ...targets }, model) => [
    ...lora.params(site, { ...targets, rank, alpha: rank, rslora: false, loraBias: false, init: 'kaiming', lrRatio: 1 }, model).map((spec) => ({ ...spec, elastic: true })),
    { name: GATE, shape: [rank], init: { kind: 'normal', std: 1 }, elastic: true },
  ],

  weightChange: (_site, p) => ({ A: matrix(p['lora_A.weight']) as Tensor2D, B: tf.mul(matrix(p['lora_B.weight']), tf.reshape(p[GATE], [1, p[GATE].size])) as Tensor2D, scale: 1 }),

  afterStep(call, { kappa, dense, selected }) {
    const { step, totalSteps } = call, from = Math.floor(dense * totalSteps);
    if (selected || step <= from) return;
    const at = (s: number): number => Math.floor(((s - from - 1) * THRESHOLDS) / (totalSteps - from));
    const threshold = (kappa * at(step)) / (THRESHOLDS - 1);
    const gates = owners(call.params, GATE).map((site): [string, Tensor] => [site, shrunk(call.params.get(`${site}.${GATE}`)!, threshold)]);
    for (const [site, g] of gates) call.setParam(`${site}.${GATE}`, g);
    if (at(step) > at(step - 1) || step === totalSteps) call.log({ threshold, ranks: Object.fromEntries(gates.map(([site, g]) => [site, open(g).length])) });
  },

  /** Ranks whose gate is closed go. */
  finish(tensors, config) {
    const stored = new Map(tensors);
    for (const site of owners(tensors, GATE)) {
      const kept = open(tensors.get(`${site}.${GATE}`)!);
      for (const [name, axis] of [['lora_A.weight', 0], ['lora_B.weight', 1], [GATE, 0]] as const) {
        const whole = tensors.get(`${site}.${name}`)!;
        stored.set(`${site}.${name}`, kept.length === 0 ? tf.zeros(whole.shape.map((n, i) => (i === axis ? 0 : n))) : tf.gather(whole, tf.tensor1d(kept, 'int32'), axis));
      }
    }
    return { tensors: stored, config: { ...config, selected: true } };
  },
};

export default codyra;

const GATE = 'lora_gate';
const THRESHOLDS = 50;

/** Towards zero by κ, and zero where less than κ is left. */
export const shrunk = (g: Tensor, kappa: number): Tensor => tf.tidy(() => {
  const nearer = tf.where(tf.greater(tf.abs(g), kappa), tf.sub(g, tf.mul(tf.sign(g), kappa)), g);
  return tf.where(tf.less(tf.abs(nearer), kappa), tf.zerosLike(g), nearer);
});

const open = (g: Tensor): number[] => [...g.dataSync()].flatMap((value, k) => (value === 0 ? [] : [k]));
