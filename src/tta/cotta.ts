import { Rng, tf, type Tensor, type Tensor2D, type Tensor4D } from '@graft/kernels';
import { augment } from './augment.js';
import { learner } from './learner.js';
import { softCrossEntropy } from './losses.js';
import type { TtaMethod } from './method.js';
import { adam, adamOptions, assign, prefixed } from './optimiser.js';
import { BATCH } from './statistics.js';
import { movingAverage, stochasticRestore } from './teacher.js';

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
    const student = source.copy(names, BATCH), teacher = source.copy(names, BATCH), anchor = source.copy([], BATCH);
    const { descend, ...training } = learner(student, adam(student.own, rates), 'student.');
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
        descend(() => {
          const z = student.logits(x);
          return { loss: tf.mean(softCrossEntropy(yHat, z)), kept: z };
        }).dispose();
        movingAverage(teacher.own, student.own, alpha);
        if (p > 0) for (const [name, theta] of student.own) stochasticRestore(theta, source.value(name), p, new Rng('restore', seed, steps, name));
        steps++;
        return zBar;
      },
      state: () => new Map<string, Tensor>([['steps', tf.scalar(steps, 'int32')], ...prefixed('teacher.', teacher.own), ...training.state()]),
      restore(state) {
        steps = state.get('steps')!.dataSync()[0];
        assign(teacher.own, state, 'teacher.');
        training.restore(state);
      },
      learnt: () => new Map(teacher.own),
      dispose: () => [teacher, anchor, training].forEach((x) => x.dispose()),
    };
  },
};

export default cotta;
