import { Rng, tf, type Tensor, type Tensor2D, type Tensor4D, type Variable } from '@graft/kernels';
import { adam, adamOptions, assign, prefixed } from './adam.js';
import { augment } from './augment.js';
import type { TtaMethod } from './method.js';

interface Config extends Record<string, unknown> {
  lr: number; beta1: number; beta2: number;
  nAug: number; alpha: number; restore: number; pTh: number;
}

/**
 * CoTTA (Wang et al., 2022): the student θ learns from the weight-averaged teacher θ′, whose prediction is averaged over
 * augmentations where the anchor θ₀ is unsure, and each weight returns to θ₀ with probability p after every step.
 */
const cotta: TtaMethod<Config> = {
  name: 'cotta',
  summary: 'mean teacher over augmentations with stochastic restoration',
  paper: { title: 'Continual Test-Time Domain Adaptation', authors: 'Wang, Fink, Van Gool, Dai', year: 2022, url: 'https://arxiv.org/abs/2203.13591' },
  options: {
    ...adamOptions(1e-3),
    nAug: { type: 'number', metavar: 'N', describe: 'augmented copies the teacher averages', default: 32, min: 1 },
    alpha: { type: 'number', describe: 'the teacher keeps this share of itself at each step', default: 0.999, min: 0, max: 1 },
    restore: { type: 'number', metavar: 'P', describe: 'probability that a weight returns to the source', default: 0.01, min: 0, max: 1 },
    pTh: { type: 'number', metavar: 'P', describe: 'augment where the anchor\'s mean confidence is below this', default: 0.92, min: 0 },
  },
  start(source, { nAug, alpha, restore: p, pTh, ...rates }, seed) {
    const names = source.parameters();
    const student = source.copy(names, 'batch'), teacher = source.copy(names, 'batch'), anchor = source.copy([], 'batch');
    const optimiser = adam(student.own, rates);
    let steps = 0;

    /** z̄: the teacher's logits, averaged over N augmentations A_i where a = mean_b max_c softmax(f_θ₀(x)) < p_th. */
    const pseudoTarget = (x: Tensor4D): Tensor2D => tf.tidy((): Tensor2D => {
      const a = (): number => tf.mean(tf.max(tf.softmax(anchor.logits(x)), -1)).dataSync()[0];
      if (pTh === 0 || a() >= pTh) return teacher.logits(x);
      let sum: Tensor2D | null = null;
      for (let i = 0; i < nAug; i++) {
        const before: Tensor2D | null = sum;
        sum = tf.tidy((): Tensor2D => {
          const z = teacher.logits(augment(x, new Rng('cotta', seed, steps, i)));
          return before ? tf.add(before, z) : z;
        });
        before?.dispose();
      }
      return tf.div(sum!, nAug);
    });

    return {
      step(x) {
        const zBar = pseudoTarget(x);
        const yHat = tf.softmax(zBar);
        const { grads, kept } = student.gradients(() => {
          const loss = tf.neg(tf.mean(tf.sum(tf.mul(yHat, tf.logSoftmax(student.logits(x))), -1)));
          return { loss, kept: loss };
        });
        kept.dispose();
        optimiser.step(grads);
        tf.dispose([...grads.values()]);
        movingAverage(teacher.own, student.own, alpha);
        if (p > 0) for (const [name, theta] of student.own) stochasticRestore(theta, source.value(name), p, new Rng('restore', seed, steps, name));
        steps++;
        return zBar;
      },
      state: () => new Map<string, Tensor>([
        ['steps', tf.scalar(steps, 'int32')], ...prefixed('student.', student.own), ...prefixed('teacher.', teacher.own), ...optimiser.state(),
      ]),
      restore(state) {
        steps = state.get('steps')!.dataSync()[0];
        assign(student.own, state, 'student.');
        assign(teacher.own, state, 'teacher.');
        optimiser.restore(state);
      },
      learnt: () => new Map(teacher.own),
      dispose: () => [student, teacher, anchor, optimiser].forEach((x) => x.dispose()),
    };
  },
};

/** θ′ ← α θ′ + (1 - α) θ. */
export function movingAverage(teacher: ReadonlyMap<string, Variable>, student: ReadonlyMap<string, Variable>, alpha: number): void {
  for (const [name, t] of teacher) tf.tidy(() => t.assign(tf.add(tf.mul(t, alpha), tf.mul(student.get(name)!, 1 - alpha))));
}

/** m ~ Bernoulli(p); θ ← m ⊙ θ₀ + (1 - m) ⊙ θ. */
export function stochasticRestore(theta: Variable, theta0: Tensor, p: number, rng: Rng): void {
  tf.tidy(() => {
    const m = tf.tensor(Float32Array.from({ length: theta.size }, () => (rng.uniform() < p ? 1 : 0)), theta.shape);
    theta.assign(tf.add(tf.mul(m, theta0), tf.mul(tf.sub(1, m), theta)));
  });
}

export default cotta;
