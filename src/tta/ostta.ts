import { tf } from '@graft/kernels';
import { learner } from './learner.js';
import { entropy, marginalEntropy } from './losses.js';
import type { TtaMethod } from './method.js';
import { adam, adamOptions, type AdamConfig } from './optimiser.js';
import { selection } from './selection.js';
import { BATCH } from './statistics.js';

/**
 * OSTTA (Lee et al., 2023): entropy minimisation over the rows that the crowd confirms, those to whose class by the source model the adapted
 * one gives no less probability, and maximisation of the entropy of the mean prediction, λ_max (equations 3 and 4). Trained are γ, β of
 * the normalisation layers; the logits are those before the update.
 */
const ostta: TtaMethod<AdamConfig & { lambdaMax: number }> = {
  name: 'ostta',
  summary: 'entropy minimisation on the images that source and adapted model agree on',
  dense: true,
  paper: { title: 'Towards Open-Set Test-Time Adaptation Utilizing the Wisdom of Crowds in Entropy Minimization', authors: 'Lee, Das, Choo, Choi', year: 2023, url: 'https://arxiv.org/abs/2308.06879' },
  options: {
    ...adamOptions(1e-3),
    lambdaMax: { type: 'number', describe: 'weight of the entropy of the mean prediction', default: 0.5, min: 0 },
  },
  start(source, { lambdaMax, ...rates }) {
    const network = source.copy(source.affine(), BATCH), crowd = selection(source, 'crowd');
    const training = learner(network, adam(network.own, rates));
    return {
      ...training,
      step: (x) => training.descend(() => {
        const z = network.logits(x);
        return { loss: tf.sub(crowd.mean(entropy(z), x, z), tf.mul(lambdaMax, marginalEntropy(z))), kept: z };
      }),
      dispose: () => [training, crowd].forEach((part) => part.dispose()),
    };
  },
};

export default ostta;
