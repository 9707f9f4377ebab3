import { crossEntropy, Rng, scoped, tf, type Tensor } from '@graft/kernels';
import { learner } from './learner.js';
import { softCrossEntropy } from './losses.js';
import type { SourceBatch, TtaMethod } from './method.js';
import { ownValues, type Source } from './network.js';
import { adam, adamOptions, type AdamConfig } from './optimiser.js';
import { sourceOption } from './prepared.js';
import { overAugmentations } from './pseudo-target.js';
import { SourceImages } from './source-images.js';
import { BATCH } from './statistics.js';
import { pupil, stochasticRestore, teacherOptions } from './teacher.js';
import { adapters, allotment, isVida, merged, withAdapters, type Allotment } from './vida-adapters.js';

interface Config extends AdamConfig, Record<string, unknown> {
  low: number; high: number; vidaLr: number; alpha: number; vidaAlpha: number; nAug: number; threshold: number; restore: number; warmUp: number; warmUpLr: number;
}

/**
 * ViDA (Liu et al., 2024): y = W x + λ_l U_l D_l x + λ_h U_h D_h x at every dense layer of an attention, or at every convolution of a network
 * without one. Student and weight-averaged teacher are both of model and adapters; the student learns the teacher's prediction, and λ
 * follows the variance of the teacher's logits over augmentations. Every weight returns to its start with a probability, as in the authors'
 * programs, and the threshold is theirs. The logits are the teacher's, before the update.
 */
const vida: TtaMethod<Config> = {
  name: 'vida',
  summary: 'mean teacher with low-rank and high-rank adapters, mixed by how uncertain the teacher is',
  paper: { title: 'ViDA: Homeostatic Visual Domain Adapter for Continual Test Time Adaptation', authors: 'Liu, Yang, Jia, Zhang, Guo, Wang, Zhang', year: 2024, url: 'https://arxiv.org/abs/2306.04344' },
  options: {
    ...adamOptions(1e-4), ...teacherOptions,
    vidaLr: { type: 'number', describe: 'learning rate of the adapters', default: 1e-5, min: 0 },
    vidaAlpha: { type: 'number', describe: "the same share of the teacher's adapters", default: 0.999, min: 0, max: 1 },
    low: { type: 'number', metavar: 'R', describe: 'rank of the one adapter', default: 1, min: 1 },
    high: { type: 'number', metavar: 'R', describe: 'rank of the other', default: 128, min: 1 },
    nAug: { type: 'number', metavar: 'N', describe: 'augmented copies the uncertainty is taken over', default: 10, min: 1 },
    threshold: { type: 'number', metavar: 'U', describe: 'uncertainty from which on the high-rank adapter counts more', default: 0.05, min: 0 },
    restore: { type: 'number', metavar: 'P', describe: 'probability that a weight returns to its start', default: 0.1, min: 0, max: 1 },
    sourceData: sourceOption('labelled, on which the adapters warm up; without it they start from nothing'),
    warmUp: { type: 'number', metavar: 'N', describe: 'passes of the warm-up over them', default: 1, min: 0 },
    warmUpLr: { type: 'number', describe: 'learning rate of Adam in the warm-up', default: 1e-4, min: 0 },
  },
  labelled: true,
  prepare: warmedUp,
  start(original, { alpha, vidaAlpha, vidaLr, nAug, threshold, restore, ...config }, seed, prepared) {
    const scales: Allotment = { low: 1, high: 1 }, source = withAdapters(original, scales);
    const begin = prepared ? new Map([...prepared].map(([n, t]) => [n, ownValues(t)])) : adapters(original, config, seed);
    const [student, teacher] = [0, 1].map(() => source.copy(original.parameters(), BATCH, [], begin));
    const self = pupil(student, teacher, adam(student.own, config, (name) => (isVida(name) ? vidaLr : config.lr)));
    const start = (name: string): Tensor => begin.get(name) ?? original.value(name);
    return {
      ...self,
      step(x) {
        const { steps } = self;
        const { variance } = overAugmentations(teacher, x, nAug, (i) => new Rng('vida', seed, steps, i));
        Object.assign(scales, allotment(0.1 * tf.mean(variance).dataSync()[0], threshold));
        const theirs = teacher.logits(x), yHat = tf.softmax(theirs);
        self.descend(() => {
          const z = student.logits(x);
          return { loss: tf.mean(softCrossEntropy(yHat, z)), kept: z };
        }).dispose();
        self.follow((name) => (isVida(name) ? vidaAlpha : alpha));
        if (restore > 0) for (const [name, theta] of student.own) stochasticRestore(theta, start(name), restore, new Rng('restore', seed, steps, name));
        return theirs;
      },
      state: () => new Map<string, Tensor>([...self.state(), ['lambda', tf.tensor1d([scales.low, scales.high])]]),
      restore(state) {
        self.restore(state);
        [scales.low, scales.high] = state.get('lambda')!.dataSync();
      },
      /** The teacher's weights with both adapters merged in. */
      learnt: () => merged(original.model, teacher.own, scales),
      dispose() {
        self.dispose();
        tf.dispose([...begin.values()]);
      },
    };
  },
};

/** The adapters after passes over labelled source images, the model as it is. */
function warmedUp(original: Source, batches: readonly SourceBatch[], config: Config, seed: number): Map<string, Tensor> {
  const begin = adapters(original, config, seed), network = withAdapters(original, { low: 1, high: 1 }).copy([], BATCH, [], begin);
  const images = new SourceImages(batches), training = learner(network, adam(network.own, { ...config, lr: config.warmUpLr }));
  for (let pass = 0; pass < config.warmUp; pass++) for (const { pixels, labels } of images.epoch(new Rng('vida', seed, 'warm-up', pass))) {
    training.descend(() => {
      const loss = tf.mean(crossEntropy(network.logits(pixels), labels!));
      return { loss, kept: loss };
    }).dispose();
  }
  const learnt = scoped(() => new Map([...network.own].map(([n, v]) => [n, tf.keep(ownValues(v))])));
  images.dispose();
  training.dispose();
  tf.dispose([...begin.values()]);
  return learnt;
}

export default vida;
