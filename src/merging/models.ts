import { weightedSumStored, type Tensor } from '@graft/kernels';
import { dataError, usageError } from '../errors.js';
import { decode, encode, isFloat } from '../formats/dtype.js';
import { bodyName, isHeadName } from '../formats/naming.js';
import type { MergingMethod } from './method.js';
import { PIECE, type Outline, type WholeModel } from './stream.js';
import { divisorOf, weightedSum } from './task-vectors.js';

export interface Merge { base: WholeModel | null; models: readonly WholeModel[]; method: MergingMethod; weights: readonly number[]; config: Record<string, unknown> }

/**
 * Models of one architecture merged tensor by tensor; the result is laid out like the first, in its float types. What is no
 * float is the first's. A tensor the base lacks (a head) is the weighted mean of the models that have it.
 * @throws GraftError (65) naming the first tensor that is missing or of another shape
 */
export function mergeModels(merge: Merge): WholeModel {
  const { base, models, method } = merge;
  if (method.needsBase && !base) throw usageError(`--method ${method.name} needs --model: the base the models were trained from`);
  if (method.name === 'slerp' && models.length !== 2) throw usageError(`--method slerp merges two models, not ${models.length}`);
  const first = models[0];
  const tables = models.map(outlines);
  const beneath = base && outlines(base);
  for (const tensor of tables[0].values()) for (const [i, table] of tables.entries()) check(tensor, table, first, models[i], beneath);
  return {
    path: first.path, config: first.config, files: first.files,
    shards: () => first.shards(),
    *data(tensor) {
      if (isFloat(tensor.dtype)) for (const values of merged(tensor, merge, tables, beneath)) yield encode(values, tensor.dtype);
      else yield* first.data(tensor);
    },
    close: () => [base, ...models].forEach((m) => m?.close()),
  };
}

/** A model's tensors under the names they have in a class with a head. */
type Outlines = ReadonlyMap<string, Outline>;

const common = (model: WholeModel, name: string): string => bodyName(model.config.model_type, name, true);
const outlines = (model: WholeModel): Outlines => new Map(model.shards().flatMap((s) => s.tensors.map((t) => [common(model, t.name), t])));
const find = (table: Outlines, name: string, model: WholeModel): Outline | undefined => table.get(common(model, name));

function check(tensor: Outline, table: Outlines, first: WholeModel, model: WholeModel, beneath: Outlines | null): void {
  const there = find(table, tensor.name, first);
  const inBase = beneath && find(beneath, tensor.name, first);
  if (!there && (inBase || !isHeadName(tensor.name))) throw dataError(`${model.path}: has no tensor '${tensor.name}', which ${first.path} has`);
  for (const other of [there, inBase]) {
    if (other && other.shape.join() !== tensor.shape.join()) throw dataError(`'${tensor.name}' is [${tensor.shape}] in ${first.path} and [${other.shape}] in ${other === there ? model.path : 'the base'}: only models of one shape merge`);
  }
}

function* merged(tensor: Outline, { base, models, method, weights, config }: Merge, tables: readonly Outlines[], beneath: Outlines | null): Generator<Float32Array> {
  const holders = models.map((model, i) => ({ model, weight: weights[i], tensor: find(tables[i], tensor.name, models[0]) })).filter((h) => h.tensor !== undefined);
  const inBase = beneath && find(beneath, tensor.name, models[0]);
  const own = holders.map((h) => h.weight), complete = holders.length === models.length && (!method.needsBase || inBase);
  const divisor = complete ? method.divisor?.(own, config) : divisorOf(own, true);
  const mapped = divisor === undefined ? [] : holders.map((h) => h.model.mapped?.(h.tensor!) ?? null);
  if (mapped.length > 0 && mapped.every((t) => t !== null)) return yield* sums(mapped, own, divisor!);
  mapped.forEach((t) => t?.dispose());
  const sources = [...holders.map((h) => ({ model: h.model, tensor: h.tensor! })), ...(complete && inBase ? [{ model: base!, tensor: inBase }] : [])];
  for (const values of !complete || method.entrywise ? together(sources.map((s) => pieces(s.model, s.tensor))) : [sources.map((s) => floats(s.model, s.tensor))]) {
    const thetas = values.slice(0, holders.length);
    yield complete ? method.merge({ name: common(models[0], tensor.name), base: values[holders.length] ?? null, models: thetas, weights: own }, config) : weightedSum(thetas, own, true);
  }
}

/** Σ w_i θ_i / divisor piece by piece, in two memories by turns. */
function* sums(thetas: readonly Tensor[], weights: readonly number[], divisor: number): Generator<Float32Array> {
  const { size } = thetas[0], at = PIECE / 4, memories = [0, 1].map(() => new Float32Array(Math.min(at, size)));
  for (let start = 0, turn = 0; start < size; start += at, turn ^= 1) yield weightedSumStored(thetas, weights, divisor, start, memories[turn].subarray(0, size - start));
  thetas.forEach((t) => t.dispose());
}

/** Pieces of several tensors of one size, cut where any of them is. */
function* together(streams: readonly Iterator<Float32Array>[]): Generator<Float32Array[]> {
  let held: Float32Array[] = streams.map(() => new Float32Array(0));
  for (;;) {
    for (const [i, stream] of streams.entries()) {
      if (held[i].length > 0) continue;
      const { value, done } = stream.next();
      if (done) return;
      held[i] = value;
    }
    const n = Math.min(...held.map((h) => h.length));
    yield held.map((h) => h.subarray(0, n));
    held = held.map((h) => h.subarray(n));
  }
}

/** The tensor as float32, piece by piece. */
function* pieces(model: WholeModel, tensor: Outline): Generator<Float32Array> {
  for (const piece of model.data(tensor)) {
    const values = decode(piece, tensor.dtype);
    if (!(values instanceof Float32Array)) throw dataError(`${model.path}: '${tensor.name}' is ${tensor.dtype} here and a float elsewhere`);
    if (values.length > 0) yield values;
  }
}

/** The whole tensor as float32. */
export function floats(model: WholeModel, tensor: Outline): Float32Array {
  const out = new Float32Array(tensor.shape.reduce((a, b) => a * b, 1));
  let at = 0;
  for (const values of pieces(model, tensor)) {
    out.set(values, at);
    at += values.length;
  }
  return out;
}
