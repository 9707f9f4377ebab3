import { scoped, tf, type Rng, type Tensor, type Tensor4D } from '@graft/kernels';
import { GraftError } from '../errors.js';
import type { OptionValues } from '../options.js';
import type { Condition } from './conditions.js';
import type { Denoiser } from './denoiser.js';
import { noiseFrom } from './images.js';
import type { Sampler } from './method.js';
import type { Level } from './schedule.js';

export interface SampleOptions { guidance: number; config: OptionValues }

/**
 * Images under conditions: from pure noise down through levels, the highest first, all of them or the first `count`. The caller frees the result.
 * @param levels lowest first
 * @param streams a stream of random numbers for each image
 * @returns [B, H, W, channels], in about [-1, 1]
 */
export function sample(denoiser: Denoiser, sampler: Sampler, levels: readonly Level[], conditions: readonly Condition[], streams: readonly Rng[], { guidance, config }: SampleOptions, count = levels.length): Tensor4D {
  let x: Tensor = noiseFrom(streams, denoiser.shape);
  for (const level of [...levels].reverse().slice(0, count)) {
    const next = scoped(() => {
      const x0 = denoiser.clean(x, denoiser.noise(x, level.t, conditions, guidance), level);
      return tf.keep(sampler.step(level, x, x0, config, () => noiseFrom(streams, denoiser.shape)));
    });
    x.dispose();
    x = next;
  }
  if (!Number.isFinite(scoped(() => tf.sum(x).dataSync()[0]))) throw new GraftError('the images are not finite; the model or a graft may have diverged in training');
  return x as Tensor4D;
}
