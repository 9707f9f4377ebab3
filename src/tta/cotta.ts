import { Rng, tf } from '@graft/kernels';
import { softCrossEntropy } from './losses.js';
import type { TtaMethod } from './method.js';
import { adamOptions, type AdamConfig } from './optimiser.js';
import { averagingOptions, averagingPupil } from './pseudo-target.js';
import { stochasticRestore, teacherOptions } from './teacher.js';

interface Config extends AdamConfig, Record<string, unknown> { nAug: number; alpha: number; restore: number; pTh: number }

/**
 * CoTTA (Wang et al., 2022): the student θ learns from the weight-averaged teacher θ′, whose prediction is averaged over
 * augmentations where the anchor θ₀ is unsure, and each weight returns to θ₀ with probability p after every step.
 */
const cotta: TtaMethod<Config> = {
  name: 'cotta',
  summary: 'mean teacher over augmentations with stochastic restoration',
  dense: true,
  paper: { title: 'Continual Test-Time Domain Adaptation', authors: 'Wang, Fink, Van Gool, Dai', year: 2022, url: 'https://arxiv.org/abs/2203.13591' },
  options: {
    ...adamOptions(1e-3),
    ...averagingOptions,
    ...teacherOptions,
    restore: { type: 'number', metavar: 'P', describe: 'probability that a weight returns to the source', default: 0.01, min: 0, max: 1 },
  },
  start(source, { alpha, restore: p, ...rates }, seed) {
    const self = averagingPupil(source, rates, seed), { network: student } = self;
    return {
      ...self,
      step(x) {
        const { steps } = self, zBar = self.target(x), yHat = tf.softmax(zBar);
        self.descend(() => {
          const z = student.logits(x);
          return { loss: tf.mean(softCrossEntropy(yHat, z)), kept: z };
        }).dispose();
        self.follow(alpha);
        if (p > 0) for (const [name, theta] of student.own) stochasticRestore(theta, source.value(name), p, new Rng('restore', seed, steps, name));
        return zBar;
      },
    };
  },
};

export default cotta;
