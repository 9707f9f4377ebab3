import { Rng } from '@graft/kernels/random';
import { dataError } from '../errors.js';
import type { Checkpoint } from '../formats/checkpoint.js';
import { decode } from '../formats/dtype.js';
import { loadTensor, storeTensor, type Graft, type StoredTensor } from '../formats/graft.js';
import type { WeightSource } from '../models/forward.js';
import type { Head, HeadTensor, Model } from '../models/model.js';
import { tf, type Tensor, type Variable } from '@graft/kernels';
import { ActiveGraft } from './active.js';
import type { Init, Method, ParamSpec, TensorShapes } from './method.js';
import { loadMethod } from './registry.js';

/** Every tensor of a graft by stored name: those of its sites, shared and replaced ones, and its head's. */
export function tensorSpecs(method: Method, config: Record<string, unknown>, model: Model, checkpoint: Checkpoint, head: Head | null): Map<string, ParamSpec> {
  const sites = method.sites(model, config);
  const shapes: TensorShapes = { names: () => checkpoint.names(), shape: (n) => (checkpoint.has(n) ? checkpoint.info(n).shape : undefined) };
  const specs = new Map<string, ParamSpec>();
  for (const site of sites) for (const spec of method.params(site, config, model)) specs.set(`${site.name}.${spec.name}`, spec);
  for (const spec of [...(method.shared?.(model, config, sites) ?? []), ...(method.replaced?.(model, config, shapes) ?? [])]) specs.set(spec.name, spec);
  for (const t of head ? model.headTensors(head) : []) if (!specs.has(t.name)) specs.set(t.name, headSpec(t));
  return specs;
}

const headSpec = ({ name, shape, init, std = 0.02 }: HeadTensor): ParamSpec => ({
  name, shape, decay: shape.length > 1,
  init: init === 'torch-linear' ? { kind: 'kaiming', fanIn: shape.at(-1)! } : init === 'normal' ? { kind: 'normal', std } : { kind: init },
});

/** A new graft: each tensor starts from its specification, drawn from (seed, name), so that it depends on no other. */
export function createGraft(o: { method: Method; config: Record<string, unknown>; model: Model; checkpoint: Checkpoint; head: Head | null; seed: number; history: string[] }): Graft {
  const { method, config, model, checkpoint, head, seed, history } = o;
  const specs = tensorSpecs(method, config, model, checkpoint, head);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, { shape, init }] of specs) {
    const values = draw(init, shape, new Rng('init', seed, name), checkpoint);
    tensors.set(name, { dtype: 'F32', shape, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) });
  }
  return { method: method.name, config, base: checkpoint.fingerprint(), head, history, tensors };
}

function draw(init: Init, shape: readonly number[], rng: Rng, checkpoint: Checkpoint): Float32Array {
  const n = shape.reduce((a, b) => a * b, 1);
  const fill = (f: () => number): Float32Array => Float32Array.from({ length: n }, f);
  switch (init.kind) {
    case 'zeros': return new Float32Array(n);
    case 'ones': return new Float32Array(n).fill(1);
    case 'constant': return new Float32Array(n).fill(init.value);
    case 'kaiming': return fill(() => rng.uniform(-1, 1) / Math.sqrt(init.fanIn));
    case 'uniform': return fill(() => rng.uniform(-init.bound, init.bound));
    case 'normal': return fill(() => rng.normal(0, init.std));
    case 'truncated-normal': return fill(() => {
      let z = rng.normal();
      while (Math.abs(z) > 2) z = rng.normal();
      return z * init.std;
    });
    case 'base': return checkpoint.has(init.tensor) ? floats(checkpoint, init.tensor) : new Float32Array(n);
    case 'rows': {
      const table = floats(checkpoint, init.tensor), d = shape[1], V = checkpoint.info(init.tensor).shape[0];
      const out = new Float32Array(n);
      for (let i = 0; i < shape[0]; i++) {
        const row = init.ids?.length ? init.ids[i % init.ids.length] : rng.integer(V);
        out.set(table.subarray(row * d, (row + 1) * d), i * d);
      }
      return out;
    }
  }
}

function floats(checkpoint: Checkpoint, name: string): Float32Array {
  const values = decode(checkpoint.read(name), checkpoint.info(name).dtype);
  if (!values) throw dataError(`${checkpoint.path}: tensor '${name}' is ${checkpoint.info(name).dtype}, which graft cannot compute with`);
  return values instanceof Float32Array ? values : Float32Array.from(values as ArrayLike<number>);
}

/**
 * Puts a graft to use on its model. @param train tensors that its method trains become variables
 * @throws GraftError (65) where a tensor the method needs is missing or of another shape
 */
export async function activate(graft: Graft, model: Model, base: WeightSource, { train }: { train: boolean }): Promise<ActiveGraft> {
  const method = await loadMethod(graft.method);
  const specs = tensorSpecs(method, graft.config, model, base as Checkpoint, graft.head);
  const tensors = new Map<string, Variable | Tensor>();
  for (const [name, stored] of graft.tensors) {
    const spec = specs.get(name);
    if (spec && spec.shape.join() !== stored.shape.join()) throw dataError(`the graft's tensor '${name}' is [${stored.shape}]; ${graft.method} with its configuration has [${spec.shape}]`);
    const tensor = tf.keep(loadTensor(name, stored));
    if (train && spec && spec.trainable !== false) {
      tensors.set(name, tf.variable(tensor, true));
      tensor.dispose();
    } else tensors.set(name, tensor);
  }
  return new ActiveGraft(method, graft.config, model, graft.head, tensors, specs);
}

/** The graft with the values its tensors have now, as its method stores them. */
export function toGraft(active: ActiveGraft, graft: Graft): Graft {
  const finished = active.method.finish?.(active.tensors, active.config) ?? { tensors: active.tensors, config: active.config };
  return { ...graft, config: finished.config, tensors: new Map([...finished.tensors].map(([name, t]) => [name, storeTensor(t)])) };
}
