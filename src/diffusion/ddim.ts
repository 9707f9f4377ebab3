import { tf } from '@graft/kernels';
import { sampling, type Sampler } from './method.js';

/** Song et al. (2021), equation 12: x_{t-1} = √ᾱ_{t-1} x̂_0 + √(1 - ᾱ_{t-1} - σ²) ε + σ z, with σ = η √((1 - ᾱ_{t-1})/(1 - ᾱ_t)) √(1 - ᾱ_t/ᾱ_{t-1}); ε as x̂_0 has it. */
const ddim: Sampler<{ eta: number }> = {
  name: 'ddim',
  summary: 'diffusion models: deterministic sampling in few steps',
  paper: { title: 'Denoising Diffusion Implicit Models', authors: 'Song, Meng, Ermon', year: 2021, url: 'https://arxiv.org/abs/2010.02502' },
  options: { ...sampling, eta: { type: 'number', describe: 'share of the noise of ancestral sampling', default: 0, min: 0, max: 1 } },
  step({ alpha, before }, x, x0, { eta }, noise) {
    // What was cut off x̂_0 must not stay in the noise.
    const epsilon = tf.div(tf.sub(x, tf.mul(x0, Math.sqrt(alpha))), Math.sqrt(1 - alpha));
    const variance = (((eta * eta * (1 - before)) / (1 - alpha)) * (1 - alpha / before));
    const next = tf.add(tf.mul(x0, Math.sqrt(before)), tf.mul(epsilon, Math.sqrt(1 - before - variance)));
    return variance > 0 ? tf.add(next, tf.mul(noise(), Math.sqrt(variance))) : next;
  },
};

export default ddim;
