import { tf, type Tensor } from '@graft/kernels';
import { usageError } from '../errors.js';
import type { Model } from '../models/model.js';
import type { Site, Weights } from '../models/site.js';
import { overInputs, overOutputs } from './low-rank.js';
import type { Method } from './method.js';
import { matcher, targetOptions, targetSites, type Targets } from './targets.js';

export interface Ia3Config extends Targets { feedforwardModules?: readonly string[] }

/** Targets and, of these, feed-forward modules by `model_type`, as in PEFT. */
const DEFAULTS: Record<string, [string[], string[]]> = {
  gpt2: [['c_attn', 'mlp.c_proj'], ['mlp.c_proj']],
  llama: [['k_proj', 'v_proj', 'down_proj'], ['down_proj']],
  qwen2: [['q_proj', 'v_proj', 'down_proj'], ['down_proj']],
  bert: [['key', 'value', 'output.dense'], ['output.dense']],
};
const SAME: Record<string, string> = { mistral: 'llama', roberta: 'bert', 'xlm-roberta': 'bert', vit: 'bert' };

/**
 * (IA)³: a learned vector l rescales what a module writes, y = l ∘ (W x + b), or what a feed-forward module reads, y = W (l ∘ x) + b.
 * l = 1 at the start, the identity.
 */
const ia3: Method<Ia3Config> = {
  name: 'ia3',
  summary: 'learned vectors that rescale keys, values and feed-forward activations ((IA)³)',
  paper: { title: 'Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning', authors: 'Liu et al.', year: 2022, url: 'https://arxiv.org/abs/2205.05638' },
  options: {
    ...targetOptions,
    feedforwardModules: { type: 'string', array: true, metavar: 'NAME', describe: 'of the modules, those whose input is rescaled rather than their output' },
  },

  resolve(config, { model }) {
    if (config.targetModules?.length) return config;
    const known = DEFAULTS[SAME[model.type] ?? model.type];
    if (!known) throw usageError(`ia3: which modules of a ${model.type} it rescales is not known; name them with --target-modules and --feedforward-modules`);
    return { ...config, targetModules: known[0], feedforwardModules: config.feedforwardModules?.length ? config.feedforwardModules : known[1] };
  },

  sites: (model: Model, config) => targetSites(model, config, ['linear', 'conv']),

  params(site, config) {
    const first = readsRescaled(site, config);
    const n = first ? site.dimIn : site.dimOut;
    return [{ name: 'ia3_l', shape: site.conv ? [1, n, 1, 1] : first ? [1, n] : [n, 1], init: { kind: 'ones' } }];
  },

  tokenwise: true,
  change({ site, x, base }, p, config) {
    const l = flat(p.ia3_l);
    return readsRescaled(site, config) ? base(tf.mul(x, l)) : tf.mul(base(x), l);
  },

  fold(site, { W, b }, _frozen, p, config) {
    const l = flat(p.ia3_l);
    if (readsRescaled(site, config)) return { W: tf.mul(W, overInputs(site, l)), b };
    return { W: tf.mul(W, overOutputs(site, l)), b: b && tf.mul(b, l) as Weights['b'] };
  },
};

export default ia3;

const readsRescaled = (site: Site, { feedforwardModules }: Ia3Config): boolean => matcher(feedforwardModules ?? [])(site.name);

const flat = (t: Tensor): Tensor => tf.reshape(t, [t.size]);
