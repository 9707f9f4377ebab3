import { activate, dropout, layerNorm, linear, tf, type Activation, type Tensor, type Tensor1D, type Tensor2D } from '@graft/kernels';
import { usageError } from '../errors.js';
import type { Model } from '../models/model.js';
import type { Site, SiteCall } from '../models/site.js';
import type { OptionValues } from '../options.js';
import type { Init, Method, Params, ParamSpec } from './method.js';

export interface BottleneckConfig extends OptionValues {
  preset: string;
  at: readonly ('attention' | 'ffn')[];
  read: 'h' | 'postnorm' | 'x' | 'stream';
  /** r */
  width: number;
  reductionFactor: number;
  activation: Activation;
  scale: number;
  scaling: 'constant' | 'learned' | 'channel';
  norm: 'none' | 'in' | 'out';
  dropout: number;
  init: 'lora' | 'bert' | 'houlsby';
  layersToTransform?: readonly number[];
}

const PLAIN = { scale: 1, scaling: 'constant', norm: 'none', dropout: 0 } as const;

/** Published placements (names of AdapterHub's configurations in brackets). */
const PRESETS: Record<string, Partial<BottleneckConfig>> = {
  houlsby: { ...PLAIN, at: ['attention', 'ffn'], read: 'h', reductionFactor: 16, activation: 'silu', init: 'bert' }, // double_seq_bn
  pfeiffer: { ...PLAIN, at: ['ffn'], read: 'postnorm', reductionFactor: 16, activation: 'relu', init: 'bert' }, // seq_bn
  parallel: { ...PLAIN, at: ['ffn'], read: 'x', reductionFactor: 2, activation: 'relu', init: 'lora', scale: 4 }, // par_bn
  'scaled-parallel': { ...PLAIN, at: ['ffn'], read: 'x', reductionFactor: 2, activation: 'relu', init: 'lora', scaling: 'learned' }, // scaled_par_bn
  adaptformer: { ...PLAIN, at: ['ffn'], read: 'stream', width: 64, activation: 'relu', init: 'lora', scale: 0.1, dropout: 0.1 },
};

/**
 * Bottleneck adapters: h ← h + s·[ act(z W_dᵀ + b_d) W_uᵀ + b_u ], where h is what a sub-layer writes before its residual addition
 * and z one of h, LN(h + stream), the sub-layer's input x, or the residual stream. W_d [r, d], W_u [d, r].
 * Houlsby et al. (2019) place two per block, Pfeiffer et al. (2021) one that reads the normalised sum, He et al. (2022) run it in parallel.
 */
const bottleneck: Method<BottleneckConfig> = {
  name: 'bottleneck',
  summary: 'bottleneck adapters: Houlsby, Pfeiffer, parallel, AdaptFormer',
  paper: { title: 'Parameter-Efficient Transfer Learning for NLP', authors: 'Houlsby et al.', year: 2019, url: 'https://arxiv.org/abs/1902.00751' },
  options: {
    preset: { type: 'string', default: 'pfeiffer', choices: Object.keys(PRESETS), describe: 'a published placement; the options below change it' },
    at: { type: 'string', array: true, choices: ['attention', 'ffn'], describe: 'the sub-layers that get one' },
    read: { type: 'string', choices: ['h', 'postnorm', 'x', 'stream'], describe: "what it reads: the sub-layer's output, that output added and normalised, the sub-layer's input, or the residual stream" },
    width: { type: 'number', alias: 'r', metavar: 'N', min: 1, describe: 'bottleneck width r' },
    reductionFactor: { type: 'number', min: 1, describe: 'instead of --width: r = d / factor' },
    activation: { type: 'string', choices: ['relu', 'gelu', 'gelu_new', 'silu', 'tanh', 'none'], describe: 'the non-linearity' },
    scale: { type: 'number', describe: 's, or where a learned one starts' },
    scaling: { type: 'string', choices: ['constant', 'learned', 'channel'], describe: 's is a constant, a learned number, or one a channel' },
    norm: { type: 'string', choices: ['none', 'in', 'out'], describe: 'a LayerNorm of its own on its input or its result' },
    dropout: { type: 'number', min: 0, max: 1, describe: 'dropout on the bottleneck' },
    init: { type: 'string', choices: ['lora', 'bert', 'houlsby'], describe: 'lora: W_u = 0, the identity; bert: N(0, 0.02²); houlsby: N(0, 0.01²) cut at 2σ' },
    layersToTransform: { type: 'number', array: true, metavar: 'N', describe: 'only these blocks' },
  },

  resolve(config, { model }) {
    const given = Object.fromEntries(Object.entries(config).filter(([, v]) => v !== undefined && !(Array.isArray(v) && v.length === 0)));
    const preset = PRESETS[config.preset];
    if (given.reductionFactor !== undefined && given.width !== undefined) throw usageError('--width and --reduction-factor exclude each other');
    const merged = { ...preset, ...given } as unknown as BottleneckConfig;
    const width = given.width ?? (given.reductionFactor === undefined ? preset.width : undefined) ?? Math.max(1, Math.floor(model.hiddenSize / merged.reductionFactor));
    const { reductionFactor: _, ...rest } = merged;
    return { ...rest, width } as BottleneckConfig;
  },

  sites: (model, config) => adapterSites(model, config),

  params(site, { width: r, init, norm, scaling, scale }) {
    const d = site.dimOut;
    const start: Init = init === 'lora' ? { kind: 'kaiming', fanIn: site.dimIn } : init === 'bert' ? { kind: 'normal', std: 0.02 } : { kind: 'truncated-normal', std: 0.01 };
    const vector = (name: string, size: number, value: Init): ParamSpec => ({ name, shape: [size], init: value });
    return [
      { name: 'adapter_down.weight', shape: [r, site.dimIn], init: start },
      vector('adapter_down.bias', r, { kind: 'zeros' }),
      { name: 'adapter_up.weight', shape: [d, r], init: init === 'lora' ? { kind: 'zeros' } : start },
      vector('adapter_up.bias', d, { kind: 'zeros' }),
      ...(norm === 'none' ? [] : [vector('adapter_norm.weight', d, { kind: 'ones' }), vector('adapter_norm.bias', d, { kind: 'zeros' })]),
      ...(scaling === 'constant' ? [] : [vector('adapter_scale', scaling === 'channel' ? d : 1, { kind: 'constant', value: scale })]),
    ];
  },

  tokenwise: true,
  change(call, p, config) {
    const h = call.base(call.x);
    return tf.add(h, delta(readFrom(call, h, config), p, config, call));
  },

  unmergeable: 'its non-linearity is no change of a weight',
};

export default bottleneck;

function adapterSites(model: Model, { at, read, layersToTransform: layers = [] }: BottleneckConfig): Site[] {
  const kinds = at.map((place): Site['kind'] => `${place}.output`);
  const found = model.sites.filter((s) => kinds.includes(s.kind) && (layers.length === 0 || layers.includes(s.layer)));
  if (found.length === 0) throw usageError(`bottleneck: this ${model.type} has no ${at.join(' or ')} sub-layer${layers.length > 0 ? ` in blocks ${layers.join(', ')}` : ''}; lora would change it`);
  if (read === 'postnorm' && !found.every((s) => s.postNorm)) throw usageError(`bottleneck: in this ${model.type} no LayerNorm follows the residual addition; give --read h`);
  return found;
}

/** z. */
function readFrom({ x, stream, norm }: SiteCall, h: Tensor, { read }: BottleneckConfig): Tensor {
  switch (read) {
    case 'h': return h;
    case 'x': return x;
    case 'stream': return stream!;
    case 'postnorm': return norm!(tf.add(h, stream!));
  }
}

/** s·f(z). */
function delta(z: Tensor, p: Params, config: BottleneckConfig, { pass, site }: SiteCall): Tensor {
  const normed = (t: Tensor): Tensor => layerNorm(t, p['adapter_norm.weight'] as Tensor1D, p['adapter_norm.bias'] as Tensor1D, 1e-5);
  const input = config.norm === 'in' ? normed(z) : z;
  const middle = activate(linear(input, p['adapter_down.weight'] as Tensor2D, p['adapter_down.bias'] as Tensor1D), config.activation);
  const kept = pass.train ? dropout(middle, config.dropout, pass.seed, pass.step, site.name) : middle;
  const out = linear(kept, p['adapter_up.weight'] as Tensor2D, p['adapter_up.bias'] as Tensor1D);
  const scaled = tf.mul(out, p.adapter_scale ?? config.scale);
  return config.norm === 'out' ? normed(scaled) : scaled;
}
