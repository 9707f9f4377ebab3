import { augmentImages, type Augmentation, type Rng, type Tensor4D } from '@graft/kernels';

/**
 * CoTTA's augmentation: colour jitter in random order, a random affine map over the edge-padded image, a 5×5 Gaussian blur,
 * a horizontal flip half of the time, and N(0, .005²) noise. The parameters are drawn once and hold for the whole batch.
 * x: [B, H, W, 3] in [0, 1]; so is the result.
 */
export const augment = (x: Tensor4D, rng: Rng): Tensor4D => augmentImages(x, [draw(rng, x.shape[1], x.shape[2])]);

function draw(rng: Rng, H: number, W: number): Augmentation {
  const colours: Augmentation['colours'] = [
    ['brightness', rng.uniform(0.6, 1.4)], ['contrast', rng.uniform(0.7, 1.3)], ['saturation', rng.uniform(0.5, 1.5)],
    ['hue', rng.uniform(-0.06, 0.06)], ['gamma', rng.uniform(0.7, 1.3)],
  ];
  // Shifts reach 1/16 of the padded image, which is twice as large.
  const shift = (side: number): number => Math.round(rng.uniform(-1, 1) * (side / 8));
  return {
    colours: rng.shuffle([...colours]),
    affine: { angle: (rng.uniform(-15, 15) * Math.PI) / 180, dx: shift(W), dy: shift(H), scale: rng.uniform(0.9, 1.1) },
    blur: rng.uniform(0.001, 0.5),
    flip: rng.uniform() < 0.5,
    noise: { std: 0.005, keys: [rng.uint32(), rng.uint32()] },
  };
}
