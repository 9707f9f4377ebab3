import { Rng, tf, type Scalar, type Tensor, type Tensor2D } from '@graft/kernels';
import { activateWith, createGraft, toGraft } from '../../src/adapters/instantiate.js';
import { weightDelta } from '../../src/adapters/low-rank.js';
import type { Method } from '../../src/adapters/method.js';
import { Forward, type ForwardOptions } from '../../src/models/forward.js';
import type { Model } from '../../src/models/model.js';
import type { Site } from '../../src/models/site.js';
import type { Objective, Preparation } from '../../src/objectives/objective.js';
import type { LogEvent } from '../../src/training/log.js';
import { Loop } from '../../src/training/loop.js';
import { Optimiser } from '../../src/training/optimiser.js';
import { schedule } from '../../src/training/schedule.js';

/** Independent linear regressions, one a module, whose best changes of a weight of zero have these ranks. */
export interface Toy { ranks: readonly number[]; seed: number; steps: number; lr: number }

export interface Outcome {
  /** Σ‖ΔW − target‖² / Σ‖target‖². */
  error: number;
  /** Of the modules, from the shapes of what is stored. */
  ranks: number[];
  /** Trained numbers, on average over the steps. */
  meanParameters: number;
  events: LogEvent[];
}

const D = 16, BATCH = 64;

/** Targets 0.125·N(16×R) N(R×16), fresh inputs N(0, I) at each step, Adam with a linear schedule; the loss is the sum of the modules' mean squares. */
export function regress(method: Method<any>, config: Record<string, unknown>, { ranks, seed, steps, lr }: Toy): Outcome { // eslint-disable-line @typescript-eslint/no-explicit-any
  const normal = (shape: [number, number], ...path: (string | number)[]): Tensor2D => {
    const rng = new Rng('regressions', seed, ...path);
    return tf.tensor(Float32Array.from({ length: shape[0] * shape[1] }, () => rng.normal()), shape) as Tensor2D;
  };
  const sites = ranks.map((_, i): Site => ({ name: `module.${i}`, kind: 'linear', layer: i, role: 'toy', dimIn: D, dimOut: D, weight: `module.${i}.weight` }));
  const targets = ranks.map((r, i) => tf.tidy(() => (r === 0 ? tf.zeros([D, D]) : tf.mul(tf.matMul(normal([D, r], i, 'left'), normal([r, D], i, 'right')), 0.125)) as Tensor2D));
  const model = { type: 'toy', sites, layers: ranks.length, defaultTargets: sites.map((s) => s.name), headTensors: () => [] } as unknown as Model;
  const nothing = { names: () => [], shape: () => undefined, values: () => new Float32Array(D * D) };
  const start = createGraft({ method, config, model, base: nothing, fingerprint: { type: '', headers: '' }, head: null, seed, history: [] });
  const graft = activateWith(method, start, model, { train: true });
  const W = tf.zeros([D, D]);
  const weights = { get: () => W, has: (name: string) => name.endsWith('weight') };
  let step = 0;
  const logits = ({ x }: { x: Tensor2D[] }, options: ForwardOptions): Tensor => {
    const f = new Forward(sites, weights, [graft], options);
    return tf.stack(sites.map((s, i) => tf.sub(f.linear(s.name, x[i]), tf.matMul(x[i], targets[i], false, true))));
  };
  const objective = {
    batch: () => ({ inputs: { x: sites.map((_, i) => normal([BATCH, D], i, 'step', step)) }, targets: { count: BATCH * D } }),
    loss: (errors: Tensor) => tf.sum(tf.square(errors)) as Scalar,
  } as unknown as Objective;
  const optimiser = new Optimiser({ kind: 'adamw', weightDecay: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, momentum: 0, nesterov: false });
  const events: LogEvent[] = [];
  const rate = schedule({ kind: 'linear', warmup: 0, totalSteps: steps, lr });
  const loop = new Loop(objective, [{ length: 1 }], { runtime: { logits, grafts: [graft], checkpoint: { names: () => [] } }, options: {} } as unknown as Preparation, graft, optimiser,
    { batchSize: 1, seed, totalSteps: steps, accumulate: 1, clip: 0, rate }, (e) => events.push(e));
  let parameters = 0;
  for (; step < steps; step++) {
    loop.step(step);
    parameters += [...graft.trained.values()].reduce((n, v) => n + v.size, 0);
  }
  const end = activateWith(method, toGraft(graft, start), model);
  const error = tf.tidy(() => {
    const norms = sites.map((s, i) => {
      const p = Object.fromEntries([...end.tensors].filter(([n]) => n.startsWith(`${s.name}.`)).map(([n, t]) => [n.slice(s.name.length + 1), t]));
      return [tf.sub(weightDelta(s, method.weightChange!(s, p, end.config)), targets[i]), targets[i]].map((t) => tf.sum(tf.square(t)).dataSync()[0]);
    });
    return norms.reduce((n, [e]) => n + e, 0) / norms.reduce((n, [, t]) => n + t, 0);
  });
  const found = sites.map((s) => [...end.tensors].find(([n]) => n.startsWith(`${s.name}.`) && /_A(\.weight)?$/.test(n))![1].shape[0]);
  for (const g of [graft, end]) g.dispose();
  tf.dispose([W, ...targets]);
  optimiser.dispose();
  return { error, ranks: found, meanParameters: parameters / steps, events };
}
