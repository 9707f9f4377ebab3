import { Rng, scoped, tf, type Tensor, type Variable } from '@graft/kernels';
import { dataError, EXIT, GraftError } from '../errors.js';
import { bytesOf, isFloat } from '../formats/dtype.js';
import { loadTensor, storeTensor, type Fingerprint, type Graft, type StoredTensor } from '../formats/graft.js';
import type { Head, HeadTensor, Model } from '../models/model.js';
import type { Site } from '../models/site.js';
import type { OptionSpec, OptionSpecs } from '../options.js';
import { ActiveGraft, isTrained } from './active.js';
import { inputFirst } from './low-rank.js';
import type { Context, Init, Method, ParamSpec, TensorShapes } from './method.js';
import { loadMethod } from './registry.js';
import { torchUniform } from './torch-random.js';

/** What a new graft may read of the base: headers, and the values of the tensors it starts from. */
export interface Base extends TensorShapes {
  /** @returns float32 values, row-major */
  values(name: string): Float32Array;
}

export interface NewGraft {
  method: Method;
  /** Values of the method's options; absent ones take their defaults. */
  config: Record<string, unknown>;
  model: Model;
  base: Base;
  fingerprint: Fingerprint;
  head: Head | null;
  seed: number;
  history: string[];
  tokenize?: Context['tokenize'];
}

/**
 * A new graft: every tensor the method and the head own, drawn from the seed and the tensor's own name, so that a tensor starts
 * the same whatever others there are.
 * @throws GraftError (usage) when the configuration does not suit the model
 */
export function createGraft({ method, config: given, model, base, fingerprint, head, seed, history, tokenize }: NewGraft): Graft {
  const filled = { ...defaults(method.options), ...withoutUndefined(given) };
  const config = method.resolve?.(filled, { model, tokenize }) ?? filled;
  const specs = ownedTensors(method, config, model, head, base);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, spec] of specs) if (!spec.regenerated) tensors.set(name, drawn(spec, base, new Rng(seed, name)));
  return { method: method.name, config: withoutUndefined(config), base: fingerprint, head, history: [...history], tensors };
}

/** Every tensor of a graft by its stored name. @param base for methods that replace tensors of the checkpoint */
export function ownedTensors(method: Method, config: Record<string, unknown>, model: Model, head: Head | null, base: TensorShapes): Map<string, ParamSpec> {
  const specs = new Map<string, ParamSpec>();
  const add = (name: string, spec: ParamSpec): void => {
    if (specs.has(name)) throw new Error(`${method.name}: two tensors are named ${name}`);
    specs.set(name, spec);
  };
  const sites = method.sites(model, config);
  for (const site of sites) for (const spec of method.params(site, config, model)) add(`${site.name}.${spec.name}`, spec);
  for (const spec of method.shared?.(model, config, sites) ?? []) add(spec.name, spec);
  for (const spec of headSpecs(model, head)) specs.set(spec.name, spec); // in place of the base's own
  // A head is replaced once, as a head.
  for (const spec of method.replaced?.(model, config, base) ?? []) if (!specs.has(spec.name)) add(spec.name, spec);
  return specs;
}

function headSpecs(model: Model, head: Head | null): ParamSpec[] {
  const tensors = head ? model.headTensors(head) : [];
  return tensors.map((t) => ({ name: t.name, shape: t.shape, init: headInit(t, tensors), ...(t.fixed && { trainable: false }) }));
}

/** PyTorch's Linear starts weight and bias in ±1/√in; a bias finds its weight beside it. */
function headInit(tensor: HeadTensor, all: readonly HeadTensor[]): Init {
  switch (tensor.init) {
    case 'normal': return { kind: 'normal', std: tensor.std ?? 0.02 };
    case 'zeros': case 'ones': return { kind: tensor.init };
    case 'checkpoint': return { kind: 'base', tensor: tensor.name };
    case 'torch-linear': {
      const weight = all.find((t) => t.name === tensor.name.replace(/bias$/, 'weight')) ?? tensor;
      return { kind: 'kaiming', fanIn: weight.shape.slice(1).reduce((a, b) => a * b, 1) };
    }
  }
}

/** The values options have when they are not given. */
export const defaults = (options: OptionSpecs): Record<string, unknown> =>
  Object.fromEntries(Object.entries(options).filter(([, o]) => o.default !== undefined && o.default !== null).map(([name, o]) => [name, o.default]));

const withoutUndefined = (config: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(config).filter(([, v]) => v !== undefined && v !== null && !(Array.isArray(v) && v.length === 0)));

function drawn(spec: ParamSpec, base: Base, rng: Rng): StoredTensor {
  const values = draw(spec, base, rng);
  return { dtype: values instanceof Int32Array ? 'I32' : 'F32', shape: [...spec.shape], data: bytesOf(values) };
}

/** The graft with the tensors a stored one leaves out. */
export function regenerated(graft: Graft, specs: ReadonlyMap<string, ParamSpec>): Graft {
  const missing = [...specs].filter(([name, spec]) => spec.regenerated && !graft.tensors.has(name));
  if (missing.length === 0) return graft;
  const nothing: Base = { names: () => [], shape: () => undefined, values: (name) => { throw new Error(`${name} is no part of what is regenerated`); } };
  return { ...graft, tensors: new Map([...graft.tensors, ...missing.map(([name, spec]): [string, StoredTensor] => [name, drawn(spec, nothing, new Rng(name))])]) };
}

function draw({ shape, init }: ParamSpec, base: Base, rng: Rng): Float32Array | Int32Array {
  const size = shape.reduce((a, b) => a * b, 1);
  const each = (f: () => number): Float32Array => {
    const values = new Float32Array(size);
    for (let i = 0; i < size; i++) values[i] = f();
    return values;
  };
  switch (init.kind) {
    case 'zeros': return new Float32Array(size);
    case 'ones': return new Float32Array(size).fill(1);
    case 'constant': return new Float32Array(size).fill(init.value);
    case 'kaiming': return each(() => rng.uniform(-1, 1) / Math.sqrt(init.fanIn));
    case 'uniform': return each(() => rng.uniform(-init.bound, init.bound));
    case 'normal': return each(() => rng.normal(0, init.std));
    case 'truncated-normal': return each(() => init.std * truncatedNormal(rng));
    case 'base': return base.values(init.tensor).slice();
    case 'rows': return rows(init, shape, base, rng);
    case 'norms': return norms(init.site, base.values(init.site.weight!));
    case 'from-weight': return init.values(base.values(init.tensor), rng);
    case 'torch-uniform': return torchUniform(init.seed, init.skip, size, init.bound);
  }
}

/** A standard normal deviate within ±2. */
function truncatedNormal(rng: Rng): number {
  for (;;) {
    const z = rng.normal();
    if (Math.abs(z) <= 2) return z;
  }
}

function rows(init: { tensor: string; ids?: readonly number[] }, [n, d]: number[], base: Base, rng: Rng): Float32Array {
  const table = base.values(init.tensor);
  const out = new Float32Array(n * d);
  for (let i = 0; i < n; i++) {
    const id = init.ids?.length ? init.ids[i % init.ids.length] : rng.integer(table.length / d);
    out.set(table.subarray(id * d, (id + 1) * d), i * d);
  }
  return out;
}

/** ‖W‖ for each output of a site, from W as it is stored. */
function norms(site: Site, W: Float32Array): Float32Array {
  const squares = new Float64Array(site.dimOut);
  const width = W.length / site.dimOut;
  W.forEach((w, i) => { squares[inputFirst(site) ? i % site.dimOut : Math.floor(i / width)] += w * w; });
  return Float32Array.from(squares, Math.sqrt);
}

/**
 * Puts a graft's tensors on the backend and binds them to a model; with `train`, its trainable tensors become variables.
 * @throws GraftError (data) naming the first tensor that does not fit
 */
export async function activate(graft: Graft, model: Model, options: { train?: boolean } = {}): Promise<ActiveGraft> {
  return activateWith(await loadMethod(graft.method), graft, model, options);
}

/** `activate` for a method at hand. */
export function activateWith(method: Method, given: Graft, model: Model, { train = false }: { train?: boolean } = {}): ActiveGraft {
  if (given.base.type && given.base.type !== model.type) throw dataError(`the graft is for a ${given.base.type} model, not ${model.type}`);
  const config = configOf(method, given);
  // The tensors it replaces are those it brings.
  const stored: TensorShapes = { names: () => given.tensors.keys(), shape: (name) => given.tensors.get(name)?.shape };
  const specs = fitting(() => ownedTensors(method, config, model, given.head, stored));
  const graft = regenerated(given, specs);
  checkTensors(graft, specs);
  const tensors = new Map<string, Variable | Tensor>();
  for (const [name, spec] of specs) {
    const tensor = tf.keep(loadTensor(name, graft.tensors.get(name)!));
    // Buffers are variables, too: hooks and running statistics move them.
    const moves = train && tensor.dtype === 'float32';
    tensors.set(name, moves ? tf.variable(tensor, spec.trainable !== false) : tensor);
    if (moves) tensor.dispose();
  }
  return new ActiveGraft(method, config, model, graft.head, tensors, specs);
}

/**
 * A stored graft's configuration, its method's defaults where it says nothing.
 * @throws GraftError (65) for a value its method's options do not take
 */
export function configOf(method: Method, graft: Graft): Record<string, unknown> {
  for (const [name, spec] of Object.entries(method.options)) {
    const value = graft.config[name];
    if (value === undefined || value === null) continue;
    const fits = spec.array ? Array.isArray(value) && value.every((v) => takes(spec, v)) : takes(spec, value);
    if (!fits) throw dataError(`the graft's configuration is broken: ${name} is ${JSON.stringify(value)}, not ${spec.array ? 'a list of ' : 'a '}${spec.choices?.join(' or ') ?? spec.type}`);
  }
  return { ...defaults(method.options), ...graft.config };
}

const takes = ({ type, choices, min = -Infinity, max = Infinity }: OptionSpec, value: unknown): boolean =>
  typeof value === type && (!choices || choices.includes(value as string)) && (typeof value !== 'number' || (value >= min && value <= max));

/** What would be a wrong option when a graft is made is bad data in a stored one. */
function fitting<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof GraftError && error.status === EXIT.usage) throw dataError(`the graft does not fit the model: ${error.message}`, error);
    throw error;
  }
}

function checkTensors(graft: Graft, specs: ReadonlyMap<string, ParamSpec>): void {
  for (const [name, spec] of specs) {
    const { shape, dtype } = graft.tensors.get(name) ?? {};
    if (!shape || !dtype) throw dataError(`the graft does not fit the model: '${name}' is not in it`);
    if (spec.trainable !== false && !isFloat(dtype)) throw dataError(`the graft's tensor '${name}' is ${dtype}; trained ones are F32, F16, BF16 or F64`);
    if (shape.length !== spec.shape.length) throw dataError(`the graft does not fit the model: '${name}' is [${shape}], the model needs ${spec.shape.length} dimensions`);
    if (!spec.elastic && shape.join() !== spec.shape.join()) throw dataError(`the graft does not fit the model: '${name}' is [${shape}], the model needs [${spec.shape}]`);
  }
  for (const name of graft.tensors.keys()) if (!specs.has(name)) throw dataError(`the graft does not fit the model: nothing there takes '${name}'`);
}

/** Reads a graft back from the backend. With `finish` (default) as its method stores a finished one; without, to be resumed. */
export function toGraft(active: ActiveGraft, graft: Graft, { finish = true }: { finish?: boolean } = {}): Graft {
  return scoped(() => {
    const finished = (finish && active.method.finish?.(active.tensors, active.config)) || { tensors: active.tensors, config: active.config };
    const kept = [...finished.tensors].filter(([name]) => !active.specs.get(name)?.regenerated);
    const tensors = new Map(kept.map(([name, t]) => [name, storeTensor(t)]));
    return { ...graft, config: finished.config, tensors };
  });
}

/** Numbers in a graft: those that are trained, and all. */
export function countParameters(active: ActiveGraft): { trained: number; stored: number } {
  const sum = (tensors: Iterable<Tensor>): number => [...tensors].reduce((n, t) => n + t.size, 0);
  return { trained: sum([...active.tensors.values()].filter(isTrained)), stored: sum(active.tensors.values()) };
}

/** The same from the specifications alone. */
export function countSpecs(specs: ReadonlyMap<string, ParamSpec>): number {
  return [...specs.values()].filter((s) => s.trainable !== false).reduce((n, s) => n + s.shape.reduce((a, b) => a * b, 1), 0);
}
