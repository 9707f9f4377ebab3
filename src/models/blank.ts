import { Rng } from '@graft/kernels/random';
import { dataError } from '../errors.js';
import type { ModelConfig } from '../formats/checkpoint.js';
import type { Entry } from '../formats/safetensors.js';
import type { Head } from './model.js';
import type { Headers } from './modules.js';
import { loadModel } from './registry.js';
import type { Site } from './site.js';

export interface BlankTensor { name: string; shape: number[]; values: Float32Array }

/**
 * The tensors of a model that nobody has trained, as its architecture starts: dense weights and tables N(0, initializer_range²) in
 * Transformers, convolutions and heads of convolutional networks Kaiming-uniform, norms 1 and 0. Each tensor is drawn from (seed, name).
 * @throws GraftError (65) for an architecture with tensors outside its sites
 */
export async function blankModel(config: ModelConfig, head: Head | null, seed: number): Promise<BlankTensor[]> {
  if (config.model_type === 'vit') throw dataError('a blank vit cannot be made yet; start from a checkpoint');
  const model = await loadModel(headersOf(config));
  const std = Number(config.initializer_range ?? 0.02);
  const kaiming = model.input === 'image';
  const tensors = new Map<string, BlankTensor>();
  const fill = (name: string | undefined, shape: number[], draw: (rng: Rng) => number): void => {
    if (name === undefined || tensors.has(name)) return;
    const rng = new Rng('blank', seed, name);
    tensors.set(name, { name, shape, values: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => draw(rng)) });
  };
  const taken = (s: Site): boolean => model.input === 'image' || (s.role !== 'head' && !/^(cls|lm_head)\./.test(s.name));
  for (const s of model.sites.filter(taken)) {
    const fanIn = s.dimIn * (s.conv ? s.conv.kernel[0] * s.conv.kernel[1] : 1);
    const weight = (rng: Rng): number => (kaiming ? rng.uniform(-1, 1) * Math.sqrt(3 / fanIn) : rng.normal(0, std));
    if (s.kind === 'linear') fill(s.weight, s.transposed ? [s.dimIn, s.dimOut] : [s.dimOut, s.dimIn], weight);
    if (s.kind === 'conv') fill(s.weight, [s.dimOut, s.dimIn, ...s.conv!.kernel], weight);
    if (s.kind === 'embedding') fill(s.weight, [s.dimIn, s.dimOut], weight);
    if (s.kind === 'norm') {
      fill(s.weight, [s.dimOut], () => 1);
      if (s.norm!.type === 'batch') {
        fill(`${s.name}.running_mean`, [s.dimOut], () => 0);
        fill(`${s.name}.running_var`, [s.dimOut], () => 1);
      }
    }
    if (s.kind !== 'embedding') fill(s.bias, [s.dimOut], () => 0);
  }
  for (const t of head ? model.headTensors(head) : []) fill(t.name, t.shape, (rng) => (t.init === 'ones' ? 1 : t.init === 'zeros' ? 0 : rng.normal(0, std)));
  return [...tensors.values()];
}

/** The headers a checkpoint of this configuration would have, as far as architectures ask for them. */
function headersOf(config: ModelConfig): Headers {
  const labels = Number(config.num_labels ?? Object.keys((config.id2label ?? {}) as object).length);
  const d = Number(config.hidden_size ?? config.n_embd);
  const rows = (name: string): number => Number(
    /position_embeddings|wpe/.test(name) ? config.max_position_embeddings ?? config.n_positions : /token_type/.test(name) ? config.type_vocab_size : config.vocab_size);
  const biased = ['bert', 'roberta', 'xlm-roberta', 'gpt2'].includes(config.model_type);
  return {
    path: 'config.json', config,
    has: (name) => !/gamma$|^(bert|roberta|transformer|classifier|cls|lm_head|score)\b/.test(name) && (biased || !name.endsWith('.bias')),
    info: (name): Entry => ({ name, dtype: 'F32', shape: /embed|wte|wpe/.test(name) ? [rows(name), d] : [labels, 0], offset: 0, length: 0 }),
  };
}
