import { tf, type Rng, type Tensor, type Variable } from '@graft/kernels';
import { learner, type Learner } from './learner.js';
import type { Network } from './network.js';
import { assign, prefixed, type Optimiser } from './optimiser.js';

/** The option of methods with a weight-averaged teacher. */
export const teacherOptions = {
  alpha: { type: 'number', describe: 'the teacher keeps this share of itself at each step', default: 0.999, min: 0, max: 1 },
} as const;

/** A student in training and its teacher: what methods that teach themselves keep between batches. */
export interface Pupil extends Learner {
  teacher: Network;
  /** How often the teacher has followed. */
  readonly steps: number;
  /** θ′ ← α θ′ + (1 - α) θ for every trained tensor; α may depend on its name. */
  follow(alpha: number | ((name: string) => number)): void;
}

/** The names in the state start with `student.`, `teacher.` and that of the optimiser. */
export function pupil(student: Network, teacher: Network, optimiser: Optimiser): Pupil {
  const training = learner(student, optimiser, 'student.');
  let steps = 0;
  return {
    ...training, teacher,
    get steps() { return steps; },
    follow(alpha) {
      const rate = typeof alpha === 'number' ? () => alpha : alpha;
      for (const [name, t] of teacher.trained) movingAverage(new Map([[name, t]]), student.own, rate(name));
      steps++;
    },
    state: () => new Map<string, Tensor>([['steps', tf.scalar(steps, 'int32')], ...prefixed('teacher.', teacher.own), ...training.state()]),
    restore(state) {
      steps = state.get('steps')!.dataSync()[0];
      assign(teacher.own, state, 'teacher.');
      training.restore(state);
    },
    learnt: () => new Map(teacher.own),
    dispose: () => [teacher, training].forEach((x) => x.dispose()),
  };
}

/** θ′ ← α θ′ + (1 - α) θ. */
export function movingAverage(teacher: ReadonlyMap<string, Variable>, student: ReadonlyMap<string, Variable>, alpha: number): void {
  for (const [name, t] of teacher) tf.tidy(() => t.assign(tf.add(tf.mul(t, alpha), tf.mul(student.get(name)!, 1 - alpha))));
}

/** θ ← m ⊙ θ₀ + (1 - m) ⊙ θ for a mask m of zeros and ones. */
function restoreWhere(m: Tensor, theta: Variable, theta0: Tensor): void {
  theta.assign(tf.add(tf.mul(m, theta0), tf.mul(tf.sub(1, m), theta)));
}

/** m ~ Bernoulli(p); θ ← m ⊙ θ₀ + (1 - m) ⊙ θ. */
export function stochasticRestore(theta: Variable, theta0: Tensor, p: number, rng: Rng): void {
  tf.tidy(() => restoreWhere(tf.tensor(Float32Array.from({ length: theta.size }, () => (rng.uniform() < p ? 1 : 0)), theta.shape), theta, theta0));
}

/** θ_i ← θ₀_i where F_i < γ, the δ-quantile of F over all tensors together (Brahma & Rai, 2023, §3.4): what the loss does not depend on. */
export function fisherRestore(theta: ReadonlyMap<string, Variable>, theta0: (name: string) => Tensor, F: ReadonlyMap<string, Tensor>, delta: number): void {
  const gamma = quantile([...F.values()].map((f) => f.dataSync() as Float32Array), delta);
  for (const [name, f] of F) tf.tidy(() => restoreWhere(tf.cast(tf.less(f, gamma), 'float32'), theta.get(name)!, theta0(name)));
}

/** The q-quantile of all the values together, interpolated linearly between order statistics. */
export function quantile(parts: readonly Float32Array[], q: number): number {
  const all = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  parts.reduce((at, p) => {
    all.set(p, at);
    return at + p.length;
  }, 0);
  const k = q * (all.length - 1), below = Math.floor(k), low = select(all, below);
  // After the selection nothing above `below` is smaller.
  const high = below + 1 < all.length ? all.subarray(below + 1).reduce((m, v) => Math.min(m, v), Infinity) : low;
  return low + (k - below) * (high - low);
}

/** The k-th smallest value (Hoare's selection); the values before it end up no larger, those after it no smaller. */
function select(values: Float32Array, k: number): number {
  let low = 0, high = values.length - 1;
  while (low < high) {
    const pivot = values[(low + high) >> 1];
    let i = low, j = high;
    while (i <= j) {
      while (values[i] < pivot) i++;
      while (values[j] > pivot) j--;
      if (i <= j) {
        const held = values[i];
        values[i++] = values[j];
        values[j--] = held;
      }
    }
    if (k <= j) high = j;
    else if (k >= i) low = i;
    else break;
  }
  return values[k];
}
