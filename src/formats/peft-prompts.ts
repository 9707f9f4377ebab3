import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { dataError, GraftError } from '../errors.js';
import { canonical, type Graft, type StoredTensor } from './graft.js';
import { writeOutput } from './output.js';
import { headOf, TASKS } from './peft.js';
import { openSafetensors, writeSafetensors } from './safetensors.js';

/** Heads are saved under this, without the second `model.` of LoRA. */
const PREFIX = 'base_model.';
const EMBEDDINGS = 'prompt_embeddings';

/**
 * Reads PROMPT_TUNING and PREFIX_TUNING adapters of models with one stack. Their tensor is the one graft stores.
 * @throws GraftError (65) for encoder-decoder prompts
 */
export function readPrompts(directory: string, config: Record<string, unknown>): Graft {
  const path = join(directory, 'adapter_model.safetensors');
  if (Number(config.num_transformer_submodules ?? 1) !== 1) throw dataError(`${directory}: prompts of encoder-decoder models are not read`);
  if (!existsSync(path)) throw dataError(`${directory}: has no adapter_model.safetensors`);
  const file = openSafetensors(path);
  const tensors = new Map<string, StoredTensor>();
  for (const { name, dtype, shape } of file.entries.values()) tensors.set(name.startsWith(PREFIX) ? name.slice(PREFIX.length) : name, { dtype, shape, data: file.read(name) });
  file.close();
  const tokens = tensors.get(EMBEDDINGS)?.shape[0];
  if (tokens === undefined) throw dataError(`${path}: has no tensor '${EMBEDDINGS}'`);
  const prefix = config.peft_type === 'PREFIX_TUNING';
  // PEFT gives a prefix as past keys and values, so the text begins at position n; a classifier pools the first position, virtual or not.
  const options = prefix ? { tokens, projection: false, positionOffset: tokens } : { tokens, init: 'random', pool: config.task_type === 'SEQ_CLS' ? 'first' : 'own' };
  return { method: prefix ? 'prefix' : 'prompt', config: options, base: { type: '', headers: '' }, head: headOf(config, tensors), history: [], tensors };
}

/** Writes a prompt or prefix graft in the PEFT layout into `directory`. @throws GraftError (1) for one that PEFT would run differently */
export async function writePrompts(directory: string, graft: Graft): Promise<void> {
  const { config, tensors, head } = graft;
  const [n, width] = tensors.get(EMBEDDINGS)!.shape;
  const { hidden_size: hidden, n_embd: embd, num_hidden_layers: many, n_layer: few, num_attention_heads: wide, n_head: narrow } = graft.base.dimensions ?? {};
  const [d, layers, heads] = [hidden ?? embd, many ?? few, wide ?? narrow];
  if (!d || !layers || !heads) throw new GraftError('the graft does not say the size of its model; give the model with --model');
  const prefix = graft.method === 'prefix';
  if (prefix && config.positionOffset !== n) throw new GraftError(`PEFT counts a prefix as text before the text; this one was trained with --position-offset ${Number(config.positionOffset ?? 0)}, not ${n}`);
  if (!prefix && head?.task === 'classify' && config.pool !== 'first') throw new GraftError('PEFT classifies by the first virtual token; this prompt was trained with --pool own');
  const names = [...tensors.keys()].sort();
  const saved = [...new Set(names.filter((name) => name !== EMBEDDINGS).map((name) => name.slice(0, name.lastIndexOf('.')).replace(/^(classifier|score)\..*/, '$1')))];
  // Keys may have fewer heads than queries: PEFT means those.
  const keys = prefix ? width / (2 * layers) : d;
  const adapter = {
    peft_type: prefix ? 'PREFIX_TUNING' : 'PROMPT_TUNING', task_type: Object.keys(TASKS).find((t) => TASKS[t] === head?.task) ?? null, base_model_name_or_path: null, inference_mode: true,
    num_virtual_tokens: n, token_dim: keys, num_layers: layers, num_attention_heads: keys / (d / heads), num_transformer_submodules: 1, modules_to_save: saved.length > 0 ? saved : null,
    ...(prefix ? { encoder_hidden_size: keys, prefix_projection: false } : { prompt_tuning_init: 'RANDOM' }),
  };
  await writeOutput(join(directory, 'adapter_config.json'), (out) => out.write(`${canonical(adapter, 2)}\n`), { text: true });
  const stored = names.map((name) => ({ ...tensors.get(name)!, name: name === EMBEDDINGS ? name : PREFIX + name, data: () => tensors.get(name)!.data }));
  await writeOutput(join(directory, 'adapter_model.safetensors'), (out) => writeSafetensors(out, stored, { format: 'pt' }));
}
