import { qr, Rng, tf, type Scalar, type Tensor, type Tensor2D } from '@graft/kernels';
import type { ActiveGraft } from '../../src/adapters/active.js';
import { activateWith, createGraft, toGraft } from '../../src/adapters/instantiate.js';
import lora from '../../src/adapters/lora.js';
import { weightDelta } from '../../src/adapters/low-rank.js';
import type { Method } from '../../src/adapters/method.js';
import type { Graft } from '../../src/formats/graft.js';
import { Forward, type ForwardOptions } from '../../src/models/forward.js';
import type { Model } from '../../src/models/model.js';
import type { Pass, Site } from '../../src/models/site.js';
import type { Objective, Preparation } from '../../src/objectives/objective.js';
import type { LogEvent } from '../../src/training/log.js';
import { Loop } from '../../src/training/loop.js';
import { Optimiser } from '../../src/training/optimiser.js';
import { schedule, type ScheduleKind } from '../../src/training/schedule.js';

type Any = Method<any>; // eslint-disable-line @typescript-eslint/no-explicit-any

type Examples = { x: Tensor2D; y: Tensor; task?: readonly string[] };

/** Linear regressions y = (W + ΔW) x, one a module, whose inputs and errors are functions of the step. */
interface Regressions {
  /** W by module, [out, in]. */
  weights: readonly Tensor2D[];
  /** Inputs [B, in] of a module and what it should make of them, [B, out]; the task of each where that is routed by. */
  batch(module: number, step: number): Examples;
  /** What is trained, in place of a new graft; of it only tensors with this in their names. */
  start?: Graft;
  only?: string;
  seed: number;
  steps: number;
  lr: number;
  kind: ScheduleKind;
  beta2: number;
}

interface Fitted { deltas: Tensor2D[]; graft: Graft; end: ActiveGraft; meanParameters: number; events: LogEvent[] }

/** Modules as those of a model. */
function modules(weights: readonly Tensor2D[]) {
  const sites = weights.map((W, i): Site => ({ name: `module.${i}`, kind: 'linear', layer: i, role: 'toy', dimIn: W.shape[1], dimOut: W.shape[0], weight: `module.${i}.weight` }));
  const model = { type: 'toy', sites, layers: sites.length, defaultTargets: sites.map((s) => s.name), headTensors: () => [] } as unknown as Model;
  const at = (name: string): Tensor2D => weights[sites.findIndex((s) => s.weight === name)];
  const base = { names: () => [], shape: () => undefined, values: (name: string) => at(name).dataSync() as Float32Array };
  const source = { get: at, has: (name: string) => name.endsWith('weight') };
  const fresh = (method: Any, config: Record<string, unknown>, seed: number): Graft => createGraft({ method, config, model, base, fingerprint: { type: '', headers: '' }, head: null, seed, history: [] });
  return { sites, model, source, fresh };
}

/** Fits the modules with one graft by Adam; the loss is the sum of their mean squares. */
function fitted(method: Any, config: Record<string, unknown>, { weights, batch, seed, steps, lr, kind, beta2, only, ...given }: Regressions): Fitted {
  const { sites, model, source, fresh } = modules(weights), start = given.start ?? fresh(method, config, seed);
  const graft = activateWith(method, start, model, { train: true });
  for (const [name, v] of graft.trained) v.trainable = only === undefined || name.includes(only);
  let step = 0, route: Pass['route'] = {};
  const forward = (options: ForwardOptions): Forward => new Forward(sites, source, [graft], { ...options, route });
  const logitsOf = (f: Forward, { x }: { x: Tensor2D[] }): Tensor => tf.stack(sites.map((s, i) => f.linear(s.name, x[i])));
  const objective = {
    batch() {
      const made = sites.map((_, i) => batch(i, step));
      route = made[0].task ? { task: made[0].task } : {};
      return { inputs: { x: made.map((m) => m.x) }, targets: { count: made[0].y.size, y: tf.stack(made.map((m) => m.y)) } };
    },
    loss: (z: Tensor, { y }: { y: Tensor }) => tf.sum(tf.square(tf.sub(z, y))) as Scalar,
  } as unknown as Objective;
  const optimiser = new Optimiser({ kind: 'adamw', weightDecay: 0, beta1: 0.9, beta2, epsilon: 1e-8, momentum: 0, nesterov: false });
  const events: LogEvent[] = [];
  const loop = new Loop(objective, [{ length: 1 }], { runtime: { forward, logitsOf, grafts: [graft], checkpoint: { names: () => [] } }, options: {} } as unknown as Preparation, graft, optimiser,
    { batchSize: 1, seed, totalSteps: steps, accumulate: 1, clip: 0, rate: schedule({ kind, warmup: 0, totalSteps: steps, lr }) }, (e) => events.push(e));
  let parameters = 0;
  for (; step < steps; step++) {
    tf.engine().startScope();
    loop.step(step);
    tf.engine().endScope();
    parameters += [...graft.trained.values()].reduce((n, v) => n + v.size, 0);
  }
  const stored = toGraft(graft, start), end = activateWith(method, stored, model);
  const deltas = method.unmergeable ? [] : sites.map((s, i) => {
    const p = Object.fromEntries([...end.tensors].filter(([n]) => n.startsWith(`${s.name}.`)).map(([n, t]) => [n.slice(s.name.length + 1), t]));
    if (method.weightChange) return weightDelta(s, method.weightChange(s, p, end.config)) as Tensor2D;
    const now = { W: weights[i], b: null };
    return tf.sub(method.fold!(s, now, now, p, end.config).W, weights[i]) as Tensor2D;
  });
  graft.dispose();
  optimiser.dispose();
  return { deltas, graft: stored, end, meanParameters: parameters / steps, events };
}

export const drawn = (shape: [number, number], ...path: (string | number)[]): Tensor2D => {
  const rng = new Rng('regressions', ...path);
  return tf.tensor(Float32Array.from({ length: shape[0] * shape[1] }, () => rng.normal()), shape) as Tensor2D;
};
const squares = (t: Tensor): number => tf.tidy(() => tf.sum(tf.square(t)).dataSync()[0]);
const BATCH = 64;

/** Modules whose best changes of a weight of zero have these ranks. */
export interface Needs { ranks: readonly number[]; seed: number; steps: number; lr: number }

export interface Outcome {
  /** Σ‖ΔW − target‖² / Σ‖target‖². */
  error: number;
  /** Of the modules, from the shapes of what is stored. */
  ranks: number[];
  /** Trained numbers, on average over the steps. */
  meanParameters: number;
  events: LogEvent[];
}

/** Four 16×16 targets 0.125·N(16×R) N(R×16), fresh inputs N(0, I) at each step, a linear schedule. */
export function regress(method: Any, config: Record<string, unknown>, { ranks, seed, ...o }: Needs): Outcome {
  const D = 16;
  const targets = ranks.map((r, i) => (r === 0 ? tf.zeros([D, D]) : tf.mul(tf.matMul(drawn([D, r], seed, i, 'left'), drawn([r, D], seed, i, 'right')), 0.125)) as Tensor2D);
  const batch = (i: number, step: number): { x: Tensor2D; y: Tensor } => {
    const x = drawn([BATCH, D], seed, i, 'step', step);
    return { x, y: tf.matMul(x, targets[i], false, true) };
  };
  const { deltas, end, meanParameters, events } = fitted(method, config, { weights: ranks.map(() => tf.zeros([D, D])), batch, seed, kind: 'linear', beta2: 0.999, ...o });
  const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);
  const found = ranks.map((_, i) => [...end.tensors].find(([n]) => n.startsWith(`module.${i}.`) && /_A(\.weight)?$/.test(n))![1].shape[0]);
  return { error: sum(deltas.map((d, i) => squares(tf.sub(d, targets[i])))) / sum(targets.map(squares)), ranks: found, meanParameters, events };
}

/**
 * One module made to compute what another weight does, from inputs (of N(0, I) by default) of its own at each step, on a linear schedule.
 * @param given what becomes of the new graft before it is trained
 * @returns ΔW, and the error of outputs over fresh inputs relative to the outputs
 */
export function towards(method: Any, config: Record<string, unknown>, W: Tensor2D, target: Tensor2D, { seed, steps, lr, inputs, given = (g) => g }: { seed: number; steps: number; lr: number; inputs?: (x: Tensor2D) => Tensor2D; given?: (graft: Graft) => Graft }): { delta: Tensor2D; error: number } {
  const made = (...path: (string | number)[]): Tensor2D => (inputs ?? ((x) => x))(drawn([BATCH, W.shape[1]], seed, ...path));
  const batch = (_: number, step: number): { x: Tensor2D; y: Tensor } => {
    const x = made('step', step);
    return { x, y: tf.matMul(x, target, false, true) };
  };
  const { deltas: [delta] } = fitted(method, config, { weights: [W], batch, seed, steps, lr, kind: 'linear', beta2: 0.999, start: given(modules([W]).fresh(method, config, seed)) });
  const x = made('test'), y = tf.matMul(x, target, false, true);
  return { delta, error: Math.sqrt(squares(tf.sub(tf.matMul(x, tf.add(W, delta) as Tensor2D, false, true), y)) / squares(y)) };
}

/**
 * Five tasks in sequence, each a change of rank one of the same 32×32 weight, 0.6·z (Q c)ᵀ/√32, seen through inputs of a random subspace
 * Q of six dimensions, with noise; what each leaves is merged before the next.
 * @returns the error over all tasks at the end, relative to that of the weight before the first, and the mean rank spent
 */
export function inSequence(method: Any, config: Record<string, unknown>, { seed, steps, lr }: { seed: number; steps: number; lr: number }): { error: number; rank: number } {
  const D = 32, d = 6, tasks = [0, 1, 2, 3, 4];
  const start = tf.div(drawn([D, D], seed, 'W'), Math.sqrt(D)) as Tensor2D;
  const spaces = tasks.map((t) => tf.tensor2d(Float32Array.from(qr(Float64Array.from(drawn([D, d], seed, t, 'Q').dataSync()), D, d).Q), [D, d]));
  const changes = spaces.map((Q, t) => tf.mul(tf.matMul(drawn([D, 1], seed, t, 'z'), tf.matMul(Q, drawn([d, 1], seed, t, 'c')), false, true), 0.6 / Math.sqrt(D)) as Tensor2D);
  let W = start, rank = 0;
  for (const t of tasks) {
    const goal = tf.add(start, changes[t]) as Tensor2D;
    const batch = (_: number, step: number): { x: Tensor2D; y: Tensor } => {
      const x = tf.matMul(drawn([BATCH, d], seed, t, 'step', step), spaces[t], false, true) as Tensor2D;
      return { x, y: tf.add(tf.matMul(x, goal, false, true), tf.mul(drawn([BATCH, D], seed, t, 'noise', step), 0.05)) };
    };
    const { deltas, end } = fitted(method, config, { weights: [W], batch, seed: seed * tasks.length + t, steps, lr, kind: 'cosine', beta2: 0.9999 });
    rank += end.tensors.get('module.0.lora_A.weight')!.shape[0] / tasks.length;
    W = tf.add(W, deltas[0]) as Tensor2D;
  }
  const left = (from: Tensor2D): number => tasks.reduce((n, t) => n + squares(tf.matMul(tf.sub(tf.add(start, changes[t]), from), spaces[t])), 0);
  return { error: left(W) / left(start), rank };
}

/**
 * Tasks of one 16×16 module whose best change is A B/r: in each of four blocks of inputs and outputs a task has one of three pairs of rank two, drawn
 * for it alone. y = A B x/r without noise.
 */
export class SkilledTasks {
  private static readonly D = 16;
  private static readonly BLOCKS = 4;
  private static readonly RANK = 2;
  private readonly weight = [tf.zeros([SkilledTasks.D, SkilledTasks.D]) as Tensor2D];
  private readonly targets: Tensor2D[];

  constructor(private readonly seed: number, n: number) {
    const { D, BLOCKS, RANK } = SkilledTasks, width = D / BLOCKS, rng = new Rng('skills', seed);
    const blocks = Array.from({ length: BLOCKS }, (_, q) => [0, 1, 2].map((s) => ({ A: drawn([RANK, width], seed, q, s, 'A'), B: drawn([width, RANK], seed, q, s, 'B') })));
    this.targets = Array.from({ length: n }, () => {
      const own = blocks.map((skills) => skills[rng.integer(3)]);
      return tf.div(tf.matMul(tf.concat(own.map((o) => o.B), 0), tf.concat(own.map((o) => o.A), 1)), RANK) as Tensor2D;
    });
  }

  fresh(method: Any, config: Record<string, unknown>): Graft {
    return modules(this.weight).fresh(method, config, this.seed);
  }

  /** A graft trained on some tasks, each step on rows of any of them; with `shots`, on so many rows of each, again and again. */
  train(method: Any, start: Graft, tasks: readonly number[], { steps, lr = 1e-2, shots, only }: { steps: number; lr?: number; shots?: number; only?: string }): Graft {
    const { D } = SkilledTasks, rng = new Rng('rows', this.seed);
    const batch = (_: number, step: number): Examples => {
      const of = shots ? tasks.flatMap((t) => new Array<number>(shots).fill(t)) : Array.from({ length: 32 }, () => tasks[rng.integer(tasks.length)]);
      const x = drawn([of.length, D], this.seed, shots ? 'shots' : 'step', ...tasks, shots ? 0 : step);
      const y = tf.concat(of.map((t, i) => tf.matMul(tf.slice(x, [i, 0], [1, D]), this.targets[t], false, true)), 0);
      return { x, y, task: of.map(String) };
    };
    return fitted(method, {}, { weights: this.weight, batch, seed: this.seed, steps, lr, kind: 'linear', beta2: 0.999, start, only }).graft;
  }

  /** Error of outputs relative to their mean square, over tasks: of a LoRA graft for each. */
  error(tasks: readonly number[], graft: (task: string) => Graft): number {
    const { sites: [site], model } = modules(this.weight);
    const sums = tasks.map((t) => tf.tidy(() => {
      const act = activateWith(lora, graft(`${t}`), model), p = Object.fromEntries([...act.tensors].map(([n, v]) => [n.slice(site.name.length + 1), v]));
      return [squares(tf.sub(weightDelta(site, lora.weightChange!(site, p, act.config as never)), this.targets[t])), squares(this.targets[t])];
    }));
    return sums.reduce((n, [e]) => n + e, 0) / sums.reduce((n, [, s]) => n + s, 0);
  }
}
