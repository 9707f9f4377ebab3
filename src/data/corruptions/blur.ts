import { gatherShifts, gaussianBlur, gaussianTaps, raster, reflect101, separable, toBytes, toRaster } from '../raster.js';
import type { Corruption } from './corruption.js';
import { motionBlur as blurAlong } from './motion.js';
import { addClippedZoom } from './zoom.js';

export const defocusBlur: Corruption<[radius: number, alias: number]> = {
  name: 'defocus_blur', abbreviation: 'db', summary: 'out of focus: convolution with a disk',
  constants: {
    cifar: [[0.3, 0.4], [0.4, 0.5], [0.5, 0.6], [1, 0.2], [1.5, 0.1]],
    imagenet: [[3, 0.1], [4, 0.5], [6, 0.5], [8, 0.5], [10, 0.5]],
  },
  apply: (x, [radius, alias]) => gatherShifts(x, diskKernel(radius, alias), reflect101),
};

/** The non-zero weights of a disk of `radius`, smoothed by a Gaussian of `alias` over 3 (above radius 8: 5) taps. */
function diskKernel(radius: number, alias: number): { dy: number; dx: number; weight: number }[] {
  const half = radius <= 8 ? 8 : radius;
  const side = 2 * half + 1;
  const disk = raster(side, side, 1);
  for (let y = -half; y <= half; y++) {
    for (let x = -half; x <= half; x++) if (x * x + y * y <= radius * radius) disk.data[(y + half) * side + x + half] = 1;
  }
  const area = disk.data.reduce((a, b) => a + b, 0);
  const taps = gaussianTaps(alias, ((radius <= 8 ? 1 : 2) + 0.25) / alias);
  const smooth = separable({ ...disk, data: disk.data.map((v) => v / area) }, taps, reflect101);
  return [...smooth.data].flatMap((weight, i) => (weight > 0 ? [{ dy: Math.floor(i / side) - half, dx: (i % side) - half, weight }] : []));
}

export const glassBlur: Corruption<[sigma: number, delta: number, iterations: number]> = {
  name: 'glass_blur', abbreviation: 'gb', summary: 'frosted glass: pixels displaced between two blurs',
  constants: {
    cifar: [[0.05, 1, 1], [0.25, 1, 1], [0.4, 1, 1], [0.25, 1, 2], [0.4, 1, 2]],
    imagenet: [[0.7, 1, 2], [0.9, 2, 1], [1, 2, 3], [1.1, 3, 2], [1.5, 4, 2]],
  },
  apply(x, [sigma, delta, iterations], { rng, glass }) {
    const { height, width } = x;
    const data = toBytes(gaussianBlur(x, sigma));
    for (let n = 0; n < iterations; n++) {
      for (let h = height - delta; h > delta; h--) {
        for (let w = width - delta; w > delta; w--) {
          const dx = rng.integer(2 * delta) - delta, dy = rng.integer(2 * delta) - delta;
          const here = (h * width + w) * 3, there = ((h + dy) * width + w + dx) * 3;
          for (let c = 0; c < 3; c++) {
            const old = data[here + c];
            data[here + c] = data[there + c];
            // The published script exchanges views of one array, so that only the copy takes effect.
            if (glass === 'swap') data[there + c] = old;
          }
        }
      }
    }
    return gaussianBlur(toRaster({ height, width, data }), sigma);
  },
};

export const motionBlur: Corruption<[radius: number, sigma: number]> = {
  name: 'motion_blur', abbreviation: 'mb', summary: 'the camera moves at an angle of −45° to 45°',
  constants: {
    cifar: [[6, 1], [6, 1.5], [6, 2], [8, 2], [9, 2.5]],
    imagenet: [[10, 3], [15, 5], [15, 8], [15, 12], [20, 15]],
  },
  apply: (x, [radius, sigma], { rng }) => blurAlong(x, radius, sigma, rng.uniform(-45, 45)),
};

export const zoomBlur: Corruption<[stop: number, step: number]> = {
  name: 'zoom_blur', abbreviation: 'zb', summary: 'the camera moves towards the object: mean over enlargements',
  constants: {
    cifar: [[1.06, 0.01], [1.11, 0.01], [1.16, 0.01], [1.21, 0.01], [1.26, 0.01]],
    imagenet: [[1.11, 0.01], [1.16, 0.01], [1.21, 0.02], [1.26, 0.02], [1.31, 0.03]],
  },
  apply(x, [stop, step]) {
    const out = { ...x, data: x.data.slice() };
    const factors = zoomFactors(stop, step);
    for (const z of factors) addClippedZoom(x, z, out.data);
    for (let i = 0; i < out.data.length; i++) out.data[i] /= factors.length + 1;
    return out;
  },
};

/** 1, 1 + step, … below `stop`, with the rounding (and thus the end points) of numpy's arange. */
function zoomFactors(stop: number, step: number): number[] {
  const delta = 1 + step - 1;
  return Array.from({ length: Math.ceil((stop - 1) / step) }, (_, i) => 1 + i * delta);
}

export const gaussianBlurCorruption: Corruption<number> = {
  name: 'gaussian_blur', abbreviation: 'gs', summary: 'low-pass filter (hold-out)',
  constants: { cifar: [0.4, 0.6, 0.7, 0.8, 1], imagenet: [1, 2, 3, 4, 6] },
  apply: (x, sigma) => gaussianBlur(x, sigma),
};
