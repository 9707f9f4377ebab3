import type { Tensor2D } from '@graft/kernels';
import { usageError } from '../errors.js';
import type { Model } from '../models/model.js';
import type { OptionValues } from '../options.js';
import type { Init, Method } from './method.js';
import { beforeEach, onesBefore } from './virtual-tokens.js';

export interface PromptConfig extends OptionValues {
  /** n */
  tokens: number;
  init: 'random' | 'vocab' | 'text';
  initText?: string;
  initIds?: readonly number[];
  pool: 'own' | 'first';
}

/**
 * Prompt tuning: n trained vectors P [n, d] stand before the embedded text, as words would (positions are added to them too).
 * The tensor is PEFT's `prompt_embeddings`.
 */
const prompt: Method<PromptConfig> = {
  name: 'prompt',
  summary: 'trained vectors before the input (prompt tuning)',
  paper: { title: 'The Power of Scale for Parameter-Efficient Prompt Tuning', authors: 'Lester, Al-Rfou, Constant', year: 2021, url: 'https://arxiv.org/abs/2104.08691' },
  options: {
    tokens: { type: 'number', metavar: 'N', default: 20, min: 0, describe: 'virtual tokens n' },
    init: { type: 'string', choices: ['random', 'vocab', 'text'], describe: 'N(0, 1), embeddings of random words, or those of --init-text; default: vocab, or text where one is given' },
    initText: { type: 'string', metavar: 'TEXT', describe: 'the prompt starts as this text, cut or repeated to --tokens' },
    initIds: { type: 'number', array: true, metavar: 'ID', describe: 'the same as token ids' },
    pool: { type: 'string', default: 'own', choices: ['own', 'first'], describe: "a classifier that pools the first position reads the text's own first token, or the first virtual one (as PEFT does)" },
  },

  resolve(config, { model, tokenize }) {
    if (config.init === 'text' && !config.initText && !config.initIds?.length) throw usageError('--init text needs --init-text');
    const initIds = config.initIds?.length ? config.initIds : config.initText ? tokenize?.(config.initText) : undefined;
    if (config.initText && !initIds?.length) throw usageError(`--init-text '${config.initText}' holds no tokens`);
    const init = config.init ?? (initIds ? 'text' : tableOf(model) ? 'vocab' : 'random');
    return { ...config, init, ...(init === 'text' ? { initIds } : {}) };
  },

  sites(model) {
    const found = model.sites.filter((s) => s.kind === 'tokens');
    if (found.length === 0) throw usageError(`prompt: this ${model.type} reads no token sequence`);
    return found;
  },
  params: () => [],
  shared: (model, config, [site]) => [{ name: 'prompt_embeddings', shape: [config.tokens, site.dimIn], init: startOf(model, config) }],

  tokens({ x, mask, prompts }, p, { tokens: n, pool }) {
    if (n === 0) return { x, mask, prompts };
    const P = p.prompt_embeddings as Tensor2D;
    return { x: beforeEach(x, P), mask: mask && onesBefore(mask, n), prompts: pool === 'first' ? prompts : prompts + n };
  },

  unmergeable: 'its virtual tokens are part of the input, not of a weight',
};

export default prompt;

const tableOf = (model: Model): string | undefined => model.sites.find((s) => s.kind === 'embedding' && s.role === 'embed')?.weight;

function startOf(model: Model, { init, initIds }: PromptConfig): Init {
  if (init === 'random') return { kind: 'normal', std: 1 };
  const tensor = tableOf(model);
  if (!tensor) throw usageError(`--init ${init}: this ${model.type} has no word embeddings; give --init random`);
  return { kind: 'rows', tensor, ids: init === 'text' ? initIds : undefined };
}
