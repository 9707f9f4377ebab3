import { tf, type Tensor, type Tensor2D } from '@graft/kernels';
import { learner } from './learner.js';
import { entropy, softCrossEntropy, weightedMean } from './losses.js';
import type { TtaMethod } from './method.js';
import { adam, adamOptions, type AdamConfig } from './optimiser.js';
import { BATCH } from './statistics.js';

/**
 * SHOT, online (Liang et al., 2020; the online form is DomainBed's): everything but the head learns by information maximisation, and by
 * the model's own labels where it is sure. The logits are those before the updates.
 */
const shot: TtaMethod<AdamConfig & { theta: number; confidence: number; steps: number }> = {
  name: 'shot',
  summary: 'information maximisation and own labels, the head frozen',
  paper: { title: 'Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised Domain Adaptation', authors: 'Liang, Hu, Feng', year: 2020, url: 'https://arxiv.org/abs/2002.08546' },
  options: {
    ...adamOptions(1e-3),
    theta: { type: 'number', describe: 'weight of the cross-entropy to the own labels; 0: information maximisation alone', default: 0.1, min: 0 },
    confidence: { type: 'number', metavar: 'P', describe: 'a row has an own label where its largest probability is above this', default: 0.9, min: 0, max: 1 },
    steps: { type: 'number', metavar: 'N', describe: 'updates a batch', default: 1, min: 1 },
  },
  start(source, { theta, confidence, steps, ...rates }) {
    const network = source.copy(source.extractor(), BATCH);
    const training = learner(network, adam(network.own, rates));
    const once = (x: Parameters<typeof network.logits>[0]): Tensor2D => training.descend(() => {
      const z = network.logits(x), p = tf.softmax(z);
      const sure = [...tf.max(p, -1).dataSync()].map((v) => Number(v > confidence));
      const labels = tf.oneHot(tf.argMax(z, -1) as tf.Tensor1D, source.classes);
      return { loss: tf.add(informationLoss(z), tf.mul(theta, weightedMean(softCrossEntropy(labels, z), sure))), kept: z };
    });
    return {
      ...training,
      step(x) {
        const first = once(x);
        for (let i = 1; i < steps; i++) once(x).dispose();
        return first;
      },
    };
  },
};

/** mean_b H(p_b) - H(mean_b p_b); least, -ln C, where predictions are sure and every class as frequent as the others. */
export function informationLoss(z: Tensor2D): Tensor {
  const mean = tf.mean(tf.softmax(z), 0);
  return tf.add(tf.mean(entropy(z)), tf.sum(tf.mul(mean, tf.log(tf.maximum(mean, 1e-8)))));
}

export default shot;
