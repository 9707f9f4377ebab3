import { dataError, GraftError } from '../errors.js';
import type { Graft } from './graft.js';
import type { PeftConfig, PeftForm, Tensors } from './peft-forms.js';

/** Prompts of models with one stack; their tensor is the one graft stores. Heads are saved without the second `model.` of LoRA. */
const EMBEDDINGS = 'prompt_embeddings';
const COMMON = { tasked: true, tensors: /^prompt_embeddings$/, prefix: 'base_model.', whole: { [EMBEDDINGS]: '' }, keys: {} } as const;

export const promptForm: PeftForm = {
  ...COMMON, type: 'PROMPT_TUNING', method: 'prompt',
  // A classifier pools the first position, virtual or not.
  read: (c, tensors, path) => ({ tokens: tokensOf(c, tensors, path), init: 'random', pool: c.task_type === 'SEQ_CLS' ? 'first' : 'own' }),
  write(graft) {
    const { d, layers, heads, n } = sizes(graft);
    if (graft.head?.task === 'classify' && graft.config.pool !== 'first') throw new GraftError('PEFT classifies by the first virtual token; this prompt was trained with --pool own');
    return { ...shape(n, d, layers, heads), prompt_tuning_init: 'RANDOM' };
  },
};

export const prefixForm: PeftForm = {
  ...COMMON, type: 'PREFIX_TUNING', method: 'prefix',
  // PEFT gives a prefix as past keys and values, so the text begins at position n.
  read(c, tensors, path) {
    const tokens = tokensOf(c, tensors, path);
    return { tokens, projection: false, positionOffset: tokens };
  },
  write(graft) {
    const { d, layers, heads, n, width } = sizes(graft);
    if (graft.config.positionOffset !== n) throw new GraftError(`PEFT counts a prefix as text before the text; this one was trained with --position-offset ${Number(graft.config.positionOffset ?? 0)}, not ${n}`);
    // Keys may have fewer heads than queries: PEFT means those.
    const keys = width / (2 * layers);
    return { ...shape(n, keys, layers, keys / (d / heads)), encoder_hidden_size: keys, prefix_projection: false };
  },
};

function tokensOf(c: PeftConfig, tensors: Tensors, path: string): number {
  if (Number(c.num_transformer_submodules ?? 1) !== 1) throw dataError(`${path}: prompts of encoder-decoder models are not read`);
  return tensors.get(EMBEDDINGS)!.shape[0];
}

function sizes({ base: { dimensions = {} }, tensors }: Graft): { d: number; layers: number; heads: number; n: number; width: number } {
  const [n, width] = tensors.get(EMBEDDINGS)!.shape;
  const [d, layers, heads] = [dimensions.hidden_size ?? dimensions.n_embd, dimensions.num_hidden_layers ?? dimensions.n_layer, dimensions.num_attention_heads ?? dimensions.n_head];
  if (!d || !layers || !heads) throw new GraftError('the graft does not say the size of its model; give the model with --model');
  return { d, layers, heads, n, width };
}

const shape = (n: number, d: number, layers: number, heads: number): PeftConfig => ({ num_virtual_tokens: n, token_dim: d, num_layers: layers, num_attention_heads: heads, num_transformer_submodules: 1 });
