import { linear, tf, untracked, type Tensor, type Tensor2D } from '@graft/kernels';
import { dataError, usageError } from '../errors.js';
import type { Site } from '../models/site.js';
import type { OptionSpecs } from '../options.js';
import { dropped } from './low-rank.js';
import type { AuxiliaryCall, Method, ParamSpec } from './method.js';
import { targetSites } from './targets.js';

export interface MeteoraConfig {
  [option: string]: unknown;
  /** Names of the N adapters, in the order of the gate's rows. */
  names: readonly string[];
  /** The rank r each has. */
  rank: number;
  topK: number;
  /** τ */
  temperature: number;
  /** β */
  gateLoss: number;
  trainAdapters: boolean;
  dropout: number;
  targetModules: readonly string[];
}

/** What `merge --method meteora` takes too; defaults stand below, for it leaves what is not given as it is. */
export const meteoraOptions = {
  names: { type: 'string', array: true, metavar: 'NAME', describe: 'the adapters, as the column task names them; default: 1, 2, …' },
  topK: { type: 'number', metavar: 'K', min: 1, describe: 'how many adapters act on a token; default: 2' },
  temperature: { type: 'number', metavar: 'T', describe: 'what gate logits are divided by before the softmax over those; higher for prompts of several tasks; default: 1' },
  gateLoss: { type: 'number', metavar: 'W', min: 0, describe: 'training: weight of the cross-entropy of the gates with the task of the row; default: 50' },
  trainAdapters: { type: 'boolean', describe: 'training: the adapters move too, not the gates alone' },
} as const satisfies OptionSpecs;

const DEFAULTS: Record<string, string | number | boolean> = { topK: 2, temperature: 1, gateLoss: 50, trainAdapters: false };

/**
 * MeteoRA: N LoRA adapters in one model, from which a gate at every module chooses for every token: z = Γx, I the k largest of z,
 * w = softmax(z_I/τ), y = W x + b + Σ_{i∈I} w_i B_i A_i x. The bank lies stacked, A [N·r, in] and B [out, N·r], scales in A; gates are
 * [N, in]. All N read a token, in one product of N·r rows, and w is 0 outside I: the cost is that of one LoRA of rank N·r. Training adds
 * β·CE(z, task of the row) over modules and tokens; by default only gates are trained. Made of LoRA grafts by `graft merge`.
 */
const meteora: Method<MeteoraConfig> = {
  name: 'meteora',
  summary: 'several LoRA adapters that a gate chooses from for every token (MeteoRA)',
  factored: true,
  paper: { title: 'MeteoRA: Multiple-tasks Embedded LoRA for Large Language Models', authors: 'Xu et al.', year: 2024, url: 'https://arxiv.org/abs/2405.13053' },
  options: {
    ...Object.fromEntries(Object.entries(meteoraOptions).map(([name, o]) => [name, { ...o, ...(name in DEFAULTS && { default: DEFAULTS[name] }), describe: o.describe.replace(/; default: [\d.]+$/, '') }])),
    rank: { type: 'number', metavar: 'N', default: 8, min: 1, describe: 'rank r of every adapter' },
    targetModules: { type: 'string', array: true, metavar: 'NAME', describe: 'modules that adapters change' },
    dropout: { type: 'number', default: 0, min: 0, max: 1, describe: "dropout on the adapters' input" },
  },

  resolve() { throw usageError('meteora grafts are made of LoRA grafts: graft merge --method meteora -g FILE -g FILE'); },
  sites: (model, config) => targetSites(model, config, ['linear']),

  params(site, { names, rank, topK, temperature, trainAdapters }): ParamSpec[] {
    const N = names.length;
    if (topK > N) throw usageError(`meteora: --top-k ${topK} of ${N} adapters`);
    if (!(temperature > 0)) throw usageError(`meteora: --temperature ${temperature} must be above 0`);
    return [
      { name: 'meteora_A', shape: [N * rank, site.dimIn], init: { kind: 'zeros' }, trainable: trainAdapters },
      { name: 'meteora_B', shape: [site.dimOut, N * rank], init: { kind: 'zeros' }, trainable: trainAdapters },
      { name: 'meteora_gate', shape: [N, site.dimIn], init: { kind: 'kaiming', fanIn: site.dimIn } },
    ];
  },

  tokenwise: true,
  gated: ({ names }) => names,
  change(call, p, config) {
    const { site, x, pass } = call, [N, r] = [config.names.length, config.rank];
    const z = linear(x, p.meteora_gate as Tensor2D);
    if (pass.train && config.gateLoss > 0) pass.notes.set(`${NOTE} ${site.name}`, z);
    const w = gateWeights(tf.reshape(z, [-1, N]) as Tensor2D, config);
    pass.gates?.(site, tf.reshape(w, [...x.shape.slice(0, -1), N]));
    const read = tf.reshape(linear(dropped(call, config.dropout), p.meteora_A as Tensor2D), [-1, N, r]);
    const chosen = tf.reshape(tf.mul(read, tf.expandDims(w, -1)), [...x.shape.slice(0, -1), N * r]);
    return tf.add(call.base(x), linear(chosen, p.meteora_B as Tensor2D));
  },

  auxiliary: (call, config) => (config.gateLoss > 0 ? tf.mul(gateLoss(call, config.names), config.gateLoss) : null),

  unmergeable: 'its gates choose adapters for every token anew',
};

export default meteora;

const NOTE = 'meteora';

/** The weights of N adapters for some tokens, from gate logits [tokens, N]: the softmax of z/τ over the k largest, 0 elsewhere. */
export function gateWeights(z: Tensor2D, { topK, temperature }: Pick<MeteoraConfig, 'topK' | 'temperature'>): Tensor2D {
  const outside = untracked(() => tf.tidy(() => {
    const { indices } = tf.topk(z, topK);
    return tf.mul(tf.sub(1, tf.sum(tf.oneHot(indices as Tensor2D, z.shape[1], 1, 0, 'float32'), 1)), -1e9);
  }));
  return tf.softmax(tf.add(tf.div(z, temperature), outside)) as Tensor2D;
}

/** CE(z, task index): the mean over tokens, then over the modules. */
function gateLoss({ pass, mask, sites }: AuxiliaryCall, names: readonly string[]): Tensor {
  const { task } = pass.route;
  if (!task) throw dataError('meteora: the data has no column task, which says the adapter of each row; without one, --gate-loss 0');
  const unknown = task.find((t) => !names.includes(t));
  if (unknown !== undefined) throw dataError(`meteora: task '${unknown}' is none of the graft's adapters (${names.slice(0, 5).join(', ')}${names.length > 5 ? ', …' : ''})`);
  const own = tf.oneHot(tf.tensor1d(task.map((t) => names.indexOf(t)), 'int32'), names.length, 1, 0, 'float32');
  const terms = [...sites.keys()].map((site: Site) => {
    const z = pass.notes.get(`${NOTE} ${site.name}`)!;
    const losses = tf.neg(tf.sum(tf.mul(tf.logSoftmax(z), z.rank === 3 ? tf.expandDims(own, 1) : own), -1));
    return mask && z.rank === 3 ? tf.div(tf.sum(tf.mul(losses, mask)), tf.sum(mask)) : tf.mean(losses);
  });
  return tf.div(tf.addN(terms), terms.length);
}
