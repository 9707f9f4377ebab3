import { crossEntropy, Rng, scoped, tf, type Tensor, type Variable } from '@graft/kernels';
import { anchored } from './eata.js';
import { learner } from './learner.js';
import { softCrossEntropy } from './losses.js';
import type { SourceBatch, TtaMethod } from './method.js';
import type { Source } from './network.js';
import { adamOptions, prefixed, sgd, type AdamConfig } from './optimiser.js';
import { sourceOption } from './prepared.js';
import { averagingOptions, averagingPupil } from './pseudo-target.js';
import { SourceImages } from './source-images.js';
import { BATCH, onward, STORED } from './statistics.js';
import { fisherRestore, stochasticRestore, teacherOptions } from './teacher.js';

interface Config extends AdamConfig, Record<string, unknown> {
  nAug: number; pTh: number; alpha: number; lambda: number; restoration: 'fisher' | 'stochastic'; delta: number; restore: number; swagEpochs: number; swagLr: number;
}

/**
 * PETAL (Brahma & Rai, 2023): CoTTA as inference under a posterior of the source domain, N(μ, σ²) of each weight (SWAG). Student, teacher
 * and anchor start at μ; the loss adds λ ½ Σ (θ - μ)² / (σ² + 10⁻⁶) (equation 9); weights whose squared gradient, the Fisher information,
 * is below its δ-quantile go back to μ (§3.4). Without images of the source domain μ is the model itself and the added term is left out.
 */
const petal: TtaMethod<Config> = {
  name: 'petal',
  summary: 'mean teacher under a posterior of the source, with data-driven restoration',
  paper: { title: 'A Probabilistic Framework for Lifelong Test-Time Adaptation', authors: 'Brahma, Rai', year: 2023, url: 'https://arxiv.org/abs/2212.09713' },
  options: {
    ...adamOptions(1e-3), ...averagingOptions, ...teacherOptions,
    lambda: { type: 'number', describe: 'weight of the posterior of the source, where --source-data is given', default: 1e-9, min: 0 },
    restoration: { type: 'string', describe: 'which weights return to the source: those of small Fisher information, or each with a probability', default: 'fisher', choices: ['fisher', 'stochastic'] },
    delta: { type: 'number', metavar: 'SHARE', describe: 'share of the weights that the Fisher information returns to the source', default: 0.03, min: 0, max: 1 },
    restore: { type: 'number', metavar: 'P', describe: 'probability that a weight returns to the source, where that is stochastic', default: 0.01, min: 0, max: 1 },
    sourceData: sourceOption('labelled, for the posterior of the weights: training goes on over them'),
    swagEpochs: { type: 'number', metavar: 'N', describe: 'passes over them; the weights after each but the first are averaged', default: 5, min: 2 },
    swagLr: { type: 'number', describe: 'learning rate of SGD over them: 8e-4 for two passes, then reached within three', default: 0.01, min: 0 },
  },
  labelled: true,
  prepare: swag,
  start(original, { alpha, lambda, restoration, delta, restore, ...rates }, seed, prepared = new Map()) {
    const part = (prefix: string): Map<string, Tensor> => new Map([...prepared].flatMap(([n, t]): [string, Tensor][] => (n.startsWith(prefix) ? [[n.slice(prefix.length), t]] : [])));
    const source = original.with(STORED, part('mean.'));
    const precision = new Map([...part('variance.')].map(([n, v]) => [n, tf.tidy(() => tf.keep(tf.div(0.5, tf.add(v, 1e-6))))]));
    const self = averagingPupil(source, rates, seed), { network: student } = self;
    return {
      ...self,
      step(x) {
        const { steps } = self, zBar = self.target(x), yHat = tf.softmax(zBar);
        const { grads, kept } = student.gradients(() => {
          const z = student.logits(x);
          return { loss: tf.add(tf.mean(softCrossEntropy(yHat, z)), tf.mul(lambda, anchored(source, student.own, precision))), kept: z };
        });
        self.optimiser.step(grads);
        self.follow(alpha);
        if (restoration === 'fisher') {
          const F = new Map([...grads].map(([n, g]) => [n, tf.square(g)]));
          fisherRestore(student.own, (n) => source.value(n), F, delta);
        } else if (restore > 0) {
          for (const [name, theta] of student.own) stochasticRestore(theta, source.value(name), restore, new Rng('restore', seed, steps, name));
        }
        tf.dispose([kept, ...grads.values()]);
        return zBar;
      },
      dispose() {
        self.dispose();
        tf.dispose([...precision.values()]);
      },
    };
  },
};

/**
 * SWAG with a diagonal covariance (Maddox et al., 2019): `mean.` and `variance.` of each weight over the ends of all passes but the first,
 * training with SGD on the labels. The rate rises from the first pass that counts on, as in the official implementation.
 */
function swag(source: Source, batches: readonly SourceBatch[], { swagEpochs, swagLr }: Config, seed: number): Map<string, Tensor> {
  const network = source.copy(source.parameters(), BATCH), images = new SourceImages(batches);
  const rates = { lr: 8e-4, momentum: 0.9, weightDecay: 5e-4 }, first = rates.lr, training = learner(network, sgd(network.own, rates));
  const zeros = (): Map<string, Variable> => new Map([...network.own].map(([n, v]) => [n, tf.tidy(() => tf.variable(tf.zerosLike(v), false))]));
  const mean = zeros(), squares = zeros();
  for (let epoch = 0; epoch < swagEpochs; epoch++) {
    rates.lr = first + (swagLr - first) * Math.min(1, Math.max(0, epoch - 1) / 3);
    for (const { pixels, labels } of images.epoch(new Rng('swag', seed, epoch))) {
      training.descend(() => {
        const loss = tf.mean(crossEntropy(network.logits(pixels), labels!));
        return { loss, kept: loss };
      }).dispose();
    }
    if (epoch > 0) for (const [n, theta] of network.own) scoped(() => {
      const held = [mean.get(n)!, squares.get(n)!];
      onward(held[0], held[1], theta, epoch).forEach((t, i) => held[i].assign(t));
    });
  }
  for (const s of squares.values()) tf.tidy(() => s.assign(tf.div(s, swagEpochs - 1)));
  images.dispose();
  training.dispose();
  return new Map<string, Tensor>([...prefixed('mean.', mean), ...prefixed('variance.', squares)]);
}

export default petal;
