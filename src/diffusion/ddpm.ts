import { tf } from '@graft/kernels';
import { sampling, type Sampler } from './method.js';

/**
 * Ancestral sampling (Ho et al., 2020): x_{t-1} ~ N(μ(x_t, x̂_0), β̃_t), the posterior of equations 6 and 7 under the prediction of x_0, with β
 * of the steps that are taken.
 */
const ddpm: Sampler = {
  name: 'ddpm',
  summary: 'diffusion models: ancestral sampling',
  paper: { title: 'Denoising Diffusion Probabilistic Models', authors: 'Ho, Jain, Abbeel', year: 2020, url: 'https://arxiv.org/abs/2006.11239' },
  options: sampling,
  step({ alpha, before, last }, x, x0, _config, noise) {
    const kept = alpha / before, beta = 1 - kept;
    const mean = tf.add(tf.mul(x0, (Math.sqrt(before) * beta) / (1 - alpha)), tf.mul(x, (Math.sqrt(kept) * (1 - before)) / (1 - alpha)));
    return last ? mean : tf.add(mean, tf.mul(noise(), Math.sqrt(((1 - before) / (1 - alpha)) * beta)));
  },
};

export default ddpm;
