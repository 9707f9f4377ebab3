import type { Rng } from '@graft/kernels/random';
import { raster, type Raster } from '../raster.js';
import type { Corruption } from './corruption.js';
import { motionBlur } from './motion.js';
import { plasma, powerOfTwo } from './plasma.js';
import { clippedZoom } from './zoom.js';

type Snow = [mean: number, std: number, zoom: number, threshold: number, radius: number, sigma: number, keep: number];

export const snow: Corruption<Snow> = {
  name: 'snow', abbreviation: 'sw', summary: 'falling snow over a whitened image',
  constants: {
    cifar: [
      [0.1, 0.2, 1, 0.6, 8, 3, 0.95], [0.1, 0.2, 1, 0.5, 10, 4, 0.9], [0.15, 0.3, 1.75, 0.55, 10, 4, 0.9],
      [0.25, 0.3, 2.25, 0.6, 12, 6, 0.85], [0.3, 0.3, 1.25, 0.65, 14, 12, 0.8]],
    imagenet: [
      [0.1, 0.3, 3, 0.5, 10, 4, 0.8], [0.2, 0.3, 2, 0.5, 12, 4, 0.7], [0.55, 0.3, 4, 0.9, 12, 8, 0.7],
      [0.55, 0.3, 4.5, 0.85, 12, 8, 0.65], [0.55, 0.3, 2.5, 0.85, 12, 12, 0.55]],
  },
  apply(x, [mean, std, zoom, threshold, radius, sigma, keep], { rng }) {
    const noise = raster(x.height, x.width, 1);
    for (let i = 0; i < noise.data.length; i++) noise.data[i] = rng.normal(mean, std);
    const layer = clippedZoom(noise, zoom);
    layer.data = layer.data.map((v) => (v < threshold ? 0 : Math.floor(Math.min(1, v) * 255) / 255));
    const flakes = motionBlur(layer, radius, sigma, rng.uniform(-135, -45)).data;
    const out = raster(x.height, x.width, 3);
    for (let i = 0, last = flakes.length - 1; i <= last; i++) {
      const [r, g, b] = [x.data[3 * i], x.data[3 * i + 1], x.data[3 * i + 2]];
      const whitened = 1.5 * (0.299 * r + 0.587 * g + 0.114 * b) + 0.5;
      for (let c = 0; c < 3; c++) {
        const v = x.data[3 * i + c];
        out.data[3 * i + c] = keep * v + (1 - keep) * Math.max(v, whitened) + flakes[i] + flakes[last - i];
      }
    }
    return out;
  },
};

export const fog: Corruption<[strength: number, decay: number]> = {
  name: 'fog', abbreviation: 'fg', summary: 'a plasma fractal of haze',
  constants: {
    cifar: [[0.2, 3], [0.5, 3], [0.75, 2.5], [1, 2], [1.5, 1.75]],
    imagenet: [[1.5, 2], [2, 2], [2.5, 1.7], [2.5, 1.5], [3, 1.4]],
  },
  apply(x, [strength, decay], { rng }) {
    const n = powerOfTwo(Math.max(x.height, x.width));
    const haze = plasma(n, decay, rng);
    let most = 0;
    for (const v of x.data) if (v > most) most = v;
    const out = raster(x.height, x.width, 3);
    for (let i = 0; i < out.data.length; i++) {
      const pixel = Math.floor(i / 3);
      const row = Math.floor(pixel / x.width);
      out.data[i] = ((x.data[i] + strength * haze[row * n + pixel - row * x.width]) * most) / (most + strength);
    }
    return out;
  },
};

/** The published generator has six photographs and draws from the first five. */
export const FROST_PHOTOGRAPHS = 5;

export const frost: Corruption<[keep: number, ice: number]> = {
  name: 'frost', abbreviation: 'fr', summary: 'ice on the lens: photographs of --frost-dir, or procedural',
  constants: {
    cifar: [[1, 0.2], [1, 0.3], [0.9, 0.4], [0.85, 0.4], [0.75, 0.45]],
    imagenet: [[1, 0.4], [0.8, 0.6], [0.7, 0.7], [0.65, 0.7], [0.6, 0.75]],
  },
  apply(x, [keep, ice], { rng, frost: photographs }) {
    const texture = photographs?.length ? photographs[rng.integer(photographs.length)] : proceduralFrost(x, rng);
    const top = rng.integer(Math.max(1, texture.height - x.height)), left = rng.integer(Math.max(1, texture.width - x.width));
    const out = raster(x.height, x.width, 3);
    for (let y = 0, i = 0; y < x.height; y++) {
      const from = ((top + y) * texture.width + left) * 3;
      for (let k = 0; k < x.width * 3; k++, i++) out.data[i] = keep * x.data[i] + ice * texture.data[from + k];
    }
    return out;
  },
};

const TINT = [0.85, 0.93, 1];

/** Ridges of one plasma mixed with a rougher second one, twice the size of the image. */
function proceduralFrost(x: Raster, rng: Rng): Raster {
  const n = 2 * powerOfTwo(Math.max(x.height, x.width));
  const ridged = plasma(n, 2.2, rng), rough = plasma(n, 1.6, rng);
  const out = raster(n, n, 3);
  for (let i = 0; i < n * n; i++) {
    const v = 0.55 * (1 - Math.abs(2 * ridged[i] - 1)) + 0.45 * rough[i];
    for (let c = 0; c < 3; c++) out.data[3 * i + c] = TINT[c] * v;
  }
  return out;
}
