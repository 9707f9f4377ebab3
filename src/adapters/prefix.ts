import { activate, dropout, linear, tf, type Tensor, type Tensor1D, type Tensor2D, type Tensor4D } from '@graft/kernels';
import { usageError } from '../errors.js';
import type { Model } from '../models/model.js';
import type { Site } from '../models/site.js';
import type { OptionValues } from '../options.js';
import type { Method, Params, ParamSpec } from './method.js';
import { beforeEach, onesBefore } from './virtual-tokens.js';

export interface PrefixConfig extends OptionValues {
  /** n */
  tokens: number;
  projection: boolean;
  hidden: number;
  init: 'normal' | 'zero';
  dropout: number;
  positionOffset: number;
}

const FLAT = 'prompt_embeddings';
const ENCODER = { table: 'prompt_encoder.embedding.weight', W1: 'prompt_encoder.transform.0.weight', b1: 'prompt_encoder.transform.0.bias', W2: 'prompt_encoder.transform.2.weight', b2: 'prompt_encoder.transform.2.bias' };

/**
 * Prefix tuning: attention at every layer sees n more keys and values, softmax(q [P_k; K]ᵀ) [P_v; V]. They are stored as PEFT does:
 * `prompt_embeddings` [n, 2·L·d_kv], for each layer its keys and then its values, key/value heads side by side. With projection they
 * are W₂ tanh(W₁ e + b₁) + b₂ of trained vectors e [n, d] while training, and flattened at the end. Keys are not rotated.
 * A zero prefix is not the identity: its keys still draw attention.
 */
const prefix: Method<PrefixConfig> = {
  name: 'prefix',
  summary: 'trained keys and values before every attention (prefix tuning, P-tuning v2)',
  paper: { title: 'Prefix-Tuning: Optimizing Continuous Prompts for Generation', authors: 'Li, Liang', year: 2021, url: 'https://arxiv.org/abs/2101.00190' },
  options: {
    tokens: { type: 'number', metavar: 'N', default: 20, min: 0, describe: 'virtual tokens n' },
    projection: { type: 'boolean', default: false, describe: 'train through a two-layer network (reparametrisation); the finished graft is flat' },
    hidden: { type: 'number', metavar: 'N', default: 512, min: 1, describe: 'width of that network' },
    init: { type: 'string', default: 'normal', choices: ['normal', 'zero'], describe: 'N(0, 0.02²), or zero' },
    dropout: { type: 'number', default: 0, min: 0, max: 1, describe: 'dropout on the prefix' },
    positionOffset: { type: 'number', metavar: 'N', default: 0, min: 0, describe: 'position of the first token of the text; n where the prefix counts as text before it (adapters from PEFT)' },
  },

  sites: (model) => attentions(model),
  params: () => [],
  shared(model, config, sites) {
    const width = sites.reduce((sum, s) => sum + 2 * keyWidth(s), 0);
    return config.projection ? encoderSpecs(model, config, width) : [{ name: FLAT, shape: [config.tokens, width], init: config.init === 'zero' ? { kind: 'zeros' } : { kind: 'normal', std: 0.02 } }];
  },

  attention({ site, input, base, pass }, p, { tokens: n, dropout: rate }) {
    if (n === 0) return base(input);
    const width = 2 * keyWidth(site);
    const P = columns(p, site.layer * width, width);
    const kept = pass.train ? dropout(P, rate, pass.seed, pass.step, site.name) : P;
    const [keys, values] = tf.split(kept, 2, 1).map((t) => tf.reshape(t, [n, site.kvHeads!, site.headDim!]));
    const { k, v, keyMask } = input;
    return base({ ...input, k: beforeEach(k, keys) as Tensor4D, v: beforeEach(v, values) as Tensor4D, keyMask: keyMask && onesBefore(keyMask, n) });
  },

  positionOffset: (config) => config.positionOffset,
  unmergeable: 'its keys and values are no part of a weight',

  finish(tensors, config) {
    if (!config.projection) return { tensors, config };
    const flat = columns(Object.fromEntries(tensors), 0, tensors.get(ENCODER.W2)!.shape[0]);
    const rest = [...tensors].filter(([name]) => !Object.values(ENCODER).includes(name));
    return { tensors: new Map([...rest, [FLAT, flat]]), config: { ...config, projection: false } };
  },
};

export default prefix;

function attentions(model: Model): Site[] {
  const found = model.sites.filter((s) => s.kind === 'attention');
  if (found.length === 0) throw usageError(`prefix: this ${model.type} has no attention; lora would change it`);
  return found;
}

/** Width of the keys, and of the values, of one attention. */
const keyWidth = (site: Site): number => site.kvHeads! * site.headDim!;

function encoderSpecs(model: Model, { tokens: n, hidden: m, init }: PrefixConfig, width: number): ParamSpec[] {
  const d = model.hiddenSize;
  const last = init === 'zero' ? ({ kind: 'zeros' } as const) : ({ kind: 'kaiming', fanIn: m } as const);
  return [
    { name: ENCODER.table, shape: [n, d], init: { kind: 'normal', std: 1 } },
    { name: ENCODER.W1, shape: [m, d], init: { kind: 'kaiming', fanIn: d } },
    { name: ENCODER.b1, shape: [m], init: { kind: 'kaiming', fanIn: d } },
    { name: ENCODER.W2, shape: [width, m], init: last },
    { name: ENCODER.b2, shape: [width], init: last },
  ];
}

/** Columns `from` … `from + width` of the flat prefix, [n, width]. */
function columns(p: Params, from: number, width: number): Tensor {
  if (p[FLAT]) return tf.slice(p[FLAT] as Tensor2D, [0, from], [-1, width]);
  const middle = activate(linear(p[ENCODER.table], p[ENCODER.W1] as Tensor2D, p[ENCODER.b1] as Tensor1D), 'tanh');
  return linear(middle, tf.slice(p[ENCODER.W2] as Tensor2D, [from, 0], [width, -1]), tf.slice(p[ENCODER.b2] as Tensor1D, [from], [width]));
}
