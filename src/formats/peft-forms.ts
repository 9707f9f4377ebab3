import { matcher } from '../adapters/targets.js';
import { dataError } from '../errors.js';
import type { Graft, StoredTensor } from './graft.js';
import { prefixForm, promptForm } from './peft-prompts.js';

export type PeftConfig = Record<string, unknown>;
export type Tensors = ReadonlyMap<string, StoredTensor>;

/** One kind of PEFT adapter and the method it is here. Tensors have the same names, PEFT's prefix aside, shapes and values. */
export interface PeftForm {
  type: string;
  method: string;
  /** PEFT leaves it idle where the configuration names no task. */
  tasked?: boolean;
  /** Tells adapters of one `peft_type` apart. */
  when?(c: PeftConfig): boolean;
  /** Names of its tensors; the module path is captured where it changes modules. */
  tensors: RegExp;
  /** What precedes names in the file; default `base_model.model.`. */
  prefix?: string;
  /** Tensors of the whole adapter: PEFT puts `base_model.` alone before them, or nothing. */
  whole?: Record<string, '' | 'base_model.'>;
  /** Keys of adapter_config.json by the option that holds the same value. */
  keys: Record<string, string>;
  /** Keys and values PEFT wants and graft has no option for. */
  constants?: PeftConfig;
  /** Options that follow from more than one key. @throws GraftError (65) for what graft cannot run */
  read?(c: PeftConfig, tensors: Tensors, path: string): Record<string, unknown>;
  /** Keys likewise; `modules` are those it changes, named as in the class with the head. @throws GraftError (1) for what PEFT runs differently */
  write?(graft: Graft, modules: readonly string[]): PeftConfig;
}

const PATTERNS = { rankPattern: 'rank_pattern', alphaPattern: 'alpha_pattern' };
const LORA = { rank: 'r', alpha: 'lora_alpha', dropout: 'lora_dropout', rslora: 'use_rslora' };
const LYCORIS = { rank: 'r', alpha: 'alpha', rankDropout: 'rank_dropout', moduleDropout: 'module_dropout', effectiveConv: 'use_effective_conv2d', ...PATTERNS };
const PLAIN = { bias: 'none', fan_in_fan_out: false };

const init = (c: PeftConfig, _tensors: Tensors, path: string): Record<string, unknown> => {
  const how = c.init_lora_weights ?? true;
  if (typeof how === 'string' && how !== 'gaussian' && how !== 'eva' && how !== 'orthogonal') {
    throw dataError(`${path}: init_lora_weights '${how}' rewrites the base; save the adapter as plain LoRA first (path_initial_model_for_weight_conversion of save_pretrained)`);
  }
  return { init: how === 'gaussian' ? 'gaussian' : 'kaiming' };
};
const initKey = ({ config }: Graft): PeftConfig => ({ init_lora_weights: config.init === 'gaussian' ? 'gaussian' : true });

/** One entry a kind. */
export const FORMS: readonly PeftForm[] = [
  {
    type: 'LORA', method: 'lora', when: (c) => c.use_dora !== true, tensors: /^(.*)\.lora_(?:embedding_)?[AB](?:\.weight|\.bias)?$/,
    keys: { ...LORA, loraBias: 'lora_bias', ...PATTERNS }, constants: PLAIN, read: init, write: initKey,
  },
  {
    type: 'LORA', method: 'dora', when: (c) => c.use_dora === true, tensors: /^(.*)\.lora_(?:(?:embedding_)?[AB](?:\.weight)?|magnitude_vector)$/,
    keys: { ...LORA, ...PATTERNS }, constants: { ...PLAIN, use_dora: true }, read: init, write: initKey,
  },
  {
    type: 'ADALORA', method: 'adalora', tensors: /^(.*)\.lora_[ABE]$/, constants: PLAIN,
    keys: {
      rank: 'init_r', targetRank: 'target_r', alpha: 'lora_alpha', dropout: 'lora_dropout', tinit: 'tinit', tfinal: 'tfinal', deltaT: 'deltaT', beta1: 'beta1', beta2: 'beta2',
      orthogonality: 'orth_reg_weight', totalStep: 'total_step',
    },
    read: (c) => (c.rank_pattern ? { allocated: true } : {}),
    write({ config, tensors }, modules) {
      const ranks = modules.map((m) => tensors.get(`${m}.lora_A`)!.shape[0]), full = Number(config.rank);
      const pattern = Object.fromEntries(modules.map((m, i) => [`${m}.lora_E`, Array.from({ length: full }, (_, k) => k < ranks[i])]));
      return { total_step: config.totalStep ?? Number(config.tinit ?? 0) + Number(config.tfinal ?? 0) + 1, rank_pattern: ranks.some((r) => r < full) ? pattern : null };
    },
  },
  {
    type: 'VERA', method: 'vera', tensors: /^(.*)\.vera_lambda_[bd]$/, constants: PLAIN, whole: { vera_A: 'base_model.', vera_B: 'base_model.' },
    keys: { rank: 'r', dInitial: 'd_initial', dropout: 'vera_dropout', projectionKey: 'projection_prng_key', saveProjection: 'save_projection' },
  },
  {
    type: 'IA3', method: 'ia3', tensors: /^(.*)\.ia3_l$/, constants: { fan_in_fan_out: false }, keys: {},
    write: ({ config }, modules) => ({ feedforward_modules: modules.filter(matcher((config.feedforwardModules ?? []) as string[])) }),
  },
  { type: 'LOHA', method: 'loha', tensors: /^(.*)\.hada_(?:w[12]_[ab]|t[12])$/, keys: LYCORIS },
  {
    type: 'LOKR', method: 'lokr', tensors: /^(.*)\.lokr_(?:w[12](?:_[ab])?|t2)$/,
    keys: { ...LYCORIS, decomposeBoth: 'decompose_both', decomposeFactor: 'decompose_factor', rankDropoutScale: 'rank_dropout_scale' },
    read: (c) => ({ init: c.init_weights === 'lycoris' ? 'lycoris' : 'default' }),
    write: ({ config }) => ({ init_weights: config.init === 'lycoris' ? 'lycoris' : true }),
  },
  {
    // PEFT numbers its tasks and trains with sampled weights.
    type: 'POLY', method: 'poly', tasked: true, tensors: /^(.*)\.poly_(?:lora_[AB]|router\.module_logits)$/, keys: { rank: 'r', skills: 'n_skills', splits: 'n_splits' }, constants: { poly_type: 'poly' },
    read: (c) => ({ tasks: Array.from({ length: Number(c.n_tasks ?? 1) }, (_, t) => String(t)), router: 'relaxed', routerLr: 1 }),
    write: ({ config }) => ({ n_tasks: (config.tasks as string[]).length }),
  },
  promptForm,
  prefixForm,
];
