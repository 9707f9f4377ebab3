import type { Method } from '../adapters/method.js';
import { dataError, usageError } from '../errors.js';
import { decode, encode, isFloat } from '../formats/dtype.js';
import type { Graft, StoredTensor } from '../formats/graft.js';
import { concatenateLora } from './concatenate.js';
import type { MergingMethod } from './method.js';
import { weightedSum } from './task-vectors.js';

/**
 * Grafts of one method for one model as one graft. LoRA changes are added exactly, by concatenation (`linear` divides by Σw,
 * `task-arithmetic` multiplies by λ); whole tensors (full, bitfit, heads) are merged element by element.
 * @param of the method of the first
 * @throws GraftError (usage) where the base would be needed, (65) for grafts that do not belong together
 */
export function mergeGrafts(of: Pick<Method, 'factored'>, grafts: readonly Graft[], method: MergingMethod, weights: readonly number[], config: Record<string, unknown>, history: string[]): Graft {
  const [first, ...rest] = grafts;
  for (const other of rest) {
    if (other.method !== first.method) throw dataError(`a ${first.method} and a ${other.method} graft cannot become one; give --model to fold both into it`);
    if (first.base.type && other.base.type && first.base.headers !== other.base.headers) throw dataError('the grafts were made for different models');
  }
  if (method.grafts) return { ...method.grafts(grafts, weights, config), head: headOf(grafts), history };
  const lora = first.method === 'lora';
  if (of.factored && !lora && rest.length === 0 && method.name === 'linear' && weights[0] === 1) return { ...first, history };
  if (of.factored && !lora) throw usageError(`${first.method} grafts cannot be added up tensor by tensor: give --model to fold them into it, one after another`);
  if (lora && method.name !== 'linear' && method.name !== 'task-arithmetic') throw needsModel(method.name);
  const total = weights.reduce((a, b) => a + b, 0);
  const scale = method.name === 'task-arithmetic' ? Number(config.lambda ?? 1) : 1;
  const divisor = config.normalize && Math.abs(total) >= 1e-8 ? total : 1;
  const merged = lora ? concatenateLora(grafts.map((graft, i) => ({ graft, weight: scale * weights[i] / divisor }))) : { ...first, tensors: new Map<string, StoredTensor>() };
  const pair = /\.lora_(embedding_)?[AB]0?(\.weight|\.bias)?$/;
  for (const name of new Set(grafts.flatMap((g) => [...g.tensors.keys()]))) {
    if (!lora || !pair.test(name)) merged.tensors.set(name, wholeTensor(name, grafts, method, weights, config, lora));
  }
  return { ...merged, head: headOf(grafts), history };
}

/** A tensor that stands for one of the model's. Beside LoRA it is a head: the models' weighted mean. */
function wholeTensor(name: string, grafts: readonly Graft[], method: MergingMethod, weights: readonly number[], config: Record<string, unknown>, beside: boolean): StoredTensor {
  const held = grafts.map((g, i) => ({ tensor: g.tensors.get(name), weight: weights[i] })).filter((h): h is { tensor: StoredTensor; weight: number } => h.tensor !== undefined);
  const { dtype, shape } = held[0].tensor;
  if (held.length === 1 || !isFloat(dtype)) return held[0].tensor;
  if (held.some((h) => h.tensor.shape.join() !== shape.join())) throw dataError(`'${name}' is [${shape}] in one graft and of another shape in the next`);
  if (!beside && method.needsBase) throw needsModel(method.name);
  const models = held.map((h) => Float32Array.from(decode(h.tensor.data, h.tensor.dtype) ?? []));
  const own = held.map((h) => h.weight);
  if (!beside) return { dtype, shape, data: encode(method.merge({ name, base: null, models, weights: own }, config), dtype) };
  return { dtype, shape, data: encode(weightedSum(models, own, true), dtype) };
}

function headOf(grafts: readonly Graft[]): Graft['head'] {
  const heads = grafts.map((g) => g.head).filter((h) => h !== null);
  const other = heads.find((h) => JSON.stringify(h) !== JSON.stringify(heads[0]));
  if (other) throw dataError(`the grafts end in different heads (${heads[0].task}: ${heads[0].labels?.join(', ') ?? ''} and ${other.task}: ${other.labels?.join(', ') ?? ''}); one graft has one head`);
  return heads[0] ?? null;
}

const needsModel = (name: string): Error => usageError(`--method ${name} needs the weights themselves: give --model with these grafts and a checkpoint comes out`);
