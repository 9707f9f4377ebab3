import { scoped, tf, variableGradients, type Rng, type Scalar, type Tensor, type Tensor2D, type Tensor4D, type Variable } from '@graft/kernels';
import { GraftError } from '../errors.js';
import ddpm from './ddpm.js';
import { noiseFrom } from './images.js';
import { lowPass } from './low-pass.js';
import type { Level } from './schedule.js';

export interface Projection {
  /** All levels of the sampler, lowest first. */
  levels: readonly Level[];
  /** N: noise of this level is put on the images and taken off again from the level below it on; 0 leaves them as they are. */
  from: number;
  /** w */
  weight: number;
  /** φ_D along height and width. */
  filter: readonly [Tensor2D, Tensor2D];
  /** The norm of the guidance is each image's own, so that it does not matter which come together, or the whole batch's. */
  normOver: 'image' | 'batch';
}

/**
 * Images as a diffusion model would have them (DDA: Gao et al., 2023, algorithm 1): x_N = √ᾱ_N x_0 + √(1 - ᾱ_N) ε, then ancestral sampling, after each step of
 * which x_{t-1} ← x_{t-1} - w ∇_{x_t} ‖φ_D(x_0) - φ_D(x̂_0(x_t))‖ holds what is coarse to the given image.
 * @param x0 [B, H, W, channels] in [-1, 1] @param streams a stream of random numbers for each image
 * @param clean x̂_0(x_t), recorded for gradients
 * @returns new images, which the caller frees
 */
export function project(x0: Tensor4D, clean: (x: Tensor, level: Level) => Tensor, streams: readonly Rng[], o: Projection): Tensor4D {
  if (o.from === 0) return tf.tidy(() => tf.keep(tf.mul(x0, 1)));
  const shape = x0.shape.slice(1), { alpha } = o.levels[Math.min(o.from, o.levels.length - 1)];
  const coarse = tf.tidy(() => lowPass(x0, o.filter));
  let x: Variable = tf.tidy(() => tf.variable(tf.add(tf.mul(x0, Math.sqrt(alpha)), tf.mul(noiseFrom(streams, shape), Math.sqrt(1 - alpha)))));
  for (const level of o.levels.slice(0, o.from).reverse()) {
    const next = scoped(() => {
      const { found, gradient } = guidance(x, coarse, (z) => clean(z, level), o);
      const down = tf.keep(tf.sub(ddpm.step(level, x, found, {}, () => noiseFrom(streams, shape)), tf.mul(gradient, o.weight)));
      found.dispose();
      return down;
    });
    x.dispose();
    x = tf.variable(next);
    next.dispose();
  }
  coarse.dispose();
  const result = tf.tidy(() => tf.keep(tf.mul(x, 1))) as Tensor4D;
  x.dispose();
  if (!Number.isFinite(scoped(() => tf.sum(result).dataSync()[0]))) throw new GraftError('the images are not finite; a smaller --weight may help');
  return result;
}

/** x̂_0, and ∇_x ‖φ_D(x_0) - φ_D(x̂_0(x))‖: summed over images, or of the whole batch. The caller frees both. */
export function guidance(x: Variable, coarse: Tensor, clean: (x: Tensor) => Tensor, { filter, normOver }: Pick<Projection, 'filter' | 'normOver'>): { found: Tensor; gradient: Tensor } {
  let found!: Tensor;
  const { value, grads } = variableGradients(() => {
    found = tf.keep(clean(x));
    const squares = tf.square(tf.sub(coarse, lowPass(found, filter)));
    // Where nothing differs the norm has no gradient.
    return tf.sum(tf.sqrt(tf.add(tf.sum(squares, normOver === 'image' ? [1, 2, 3] : undefined), 1e-12))) as Scalar;
  }, [x]);
  value.dispose();
  return { found, gradient: grads.get(x)! };
}
