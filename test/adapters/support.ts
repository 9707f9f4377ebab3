import { Rng, tf, type Tensor } from '@graft/kernels';
import { activateWith, createGraft } from '../../src/adapters/instantiate.js';
import { baseOf } from '../../src/adapters/base.js';
import { isTrained, type ActiveGraft } from '../../src/adapters/active.js';
import type { Method, StepCall } from '../../src/adapters/method.js';
import { fold } from '../../src/merging/exact.js';
import { bytesOf, decode } from '../../src/formats/dtype.js';
import type { Checkpoint } from '../../src/formats/checkpoint.js';
import type { Graft } from '../../src/formats/graft.js';
import { Forward, type ForwardOptions, type WeightSource } from '../../src/models/forward.js';
import type { Batch, Head, Model } from '../../src/models/model.js';
import { batchOf, openSmall, type Golden } from '../models/golden.js';

/** A small model with everything a test of a method needs. */
export interface Bench { checkpoint: Checkpoint; model: Model; golden: Golden; batch: Batch; head: Head }

export async function bench(name: string): Promise<Bench> {
  const opened = await openSmall(name);
  return { ...opened, batch: batchOf(opened.golden), head: opened.model.head! };
}

/** A new graft for a bench's model. */
export function fresh(b: Pick<Bench, 'model' | 'checkpoint'>, method: Method<any>, config: Record<string, unknown> = {}, options: { head?: Head | null; seed?: number } = {}): Graft { // eslint-disable-line @typescript-eslint/no-explicit-any
  return createGraft({ method, config, model: b.model, base: baseOf(b.checkpoint), fingerprint: b.checkpoint.fingerprint(), head: options.head ?? null, seed: options.seed ?? 0, history: [] });
}

/** The graft with every tensor drawn anew from N(0, std²); variances are its magnitudes. */
export function randomised(graft: Graft, std = 0.2): Graft {
  const tensors = new Map([...graft.tensors].map(([name, t]) => {
    const rng = new Rng('randomised', name);
    const variance = name.endsWith('running_var');
    const values = Float32Array.from({ length: t.data.length / 4 }, () => (variance ? 1 + rng.uniform() : rng.normal(0, std)));
    return [name, { ...t, data: bytesOf(values) }];
  }));
  return { ...graft, tensors };
}

/** Logits at the positions that count, flat. */
export function logits(b: Bench, grafts: ActiveGraft[] = [], options: ForwardOptions = {}, batch = b.batch, weights: WeightSource = b.checkpoint): Float32Array {
  const t = tf.tidy(() => {
    const f = new Forward(b.model.sites, weights, grafts, options);
    const features = b.model.backbone(f, batch);
    const z = b.model.logits(f, features, b.head);
    return z.rank === 3 && features.mask ? tf.mul(z, tf.expandDims(features.mask, -1)) : z;
  });
  const values = t.dataSync().slice() as Float32Array;
  t.dispose();
  return values;
}

/** The loss Σ z² / 2 of the logits, and its gradients by stored name. */
export function gradients(b: Bench, active: ActiveGraft, method: { penalty?: Method['penalty'] } = {}): Map<string, Tensor> {
  const trained = active.trained;
  const { grads, value } = tf.variableGrads(() => {
    const f = new Forward(b.model.sites, b.checkpoint, [active], { train: true });
    const loss = tf.mean(tf.square(b.model.logits(f, b.model.backbone(f, b.batch), b.head)));
    const penalty = method.penalty?.(active.tensors, active.config);
    return (penalty ? tf.add(loss, penalty) : loss) as tf.Scalar;
  }, [...trained.values()]);
  value.dispose();
  return new Map([...trained].map(([name, v]) => [name, grads[v.name]]));
}

/** What a hook is given about tensors that lie in a map, which it changes; events go to the end of `events`. */
export function hookCall(tensors: Map<string, Tensor>, given: Pick<StepCall, 'step' | 'totalSteps'> & Partial<StepCall>, events: Record<string, unknown>[] = []): StepCall {
  const put = (name: string, value: Tensor | null): void => { if (value) tensors.set(name, value); else tensors.delete(name); };
  return {
    seed: 0, params: new Map([...tensors].filter((e): e is [string, tf.Variable] => isTrained(e[1]))), buffers: new Map([...tensors].filter(([, t]) => !isTrained(t))),
    grads: new Map(), weightGrads: new Map(), gradScale: 1,
    setParam: (name, value) => put(name, value && tf.variable(value)), setBuffer: (name, value) => put(name, value && tf.keep(tf.clone(value))),
    log: (event) => events.push(event), ...given,
  };
}

/** One step of gradient descent with weight decay on everything that is trained. */
export function step(b: Bench, active: ActiveGraft, lr = 0.1): void {
  const grads = gradients(b, active);
  for (const [name, v] of active.trained) {
    const g = grads.get(name);
    if (g) tf.tidy(() => v.assign(tf.sub(tf.mul(v, 1 - 0.01 * lr), tf.mul(g, lr))));
  }
  for (const g of grads.values()) g?.dispose();
}

export const active = (b: Bench, method: Method<any>, graft: Graft, train = false): ActiveGraft => activateWith(method, graft, b.model, { train }); // eslint-disable-line @typescript-eslint/no-explicit-any

export const norm = (t: Tensor | undefined): number => (t ? tf.tidy(() => tf.norm(t).dataSync()[0]) : 0);

/** The weights with grafts folded in, as `merge` writes them. */
export async function merged(b: Bench, grafts: Graft[]): Promise<WeightSource> {
  const whole = await fold(b.checkpoint, grafts);
  const tensors = new Map(whole.shards().flatMap((s) => s.tensors).map((t) => [t.name, tf.tensor(Float32Array.from(decode(Buffer.concat([...whole.data(t)]), t.dtype)!), t.shape)]));
  return overlay(b.checkpoint, tensors);
}

/** Weights of a checkpoint with some of them replaced. */
export const overlay = (checkpoint: WeightSource, replaced: ReadonlyMap<string, Tensor>): WeightSource => ({
  get: (name) => replaced.get(name) ?? checkpoint.get(name),
  has: (name) => replaced.has(name) || checkpoint.has(name),
});
