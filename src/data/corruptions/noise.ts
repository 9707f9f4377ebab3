import type { Rng } from '@graft/kernels/random';
import type { Raster } from '../raster.js';
import type { Corruption } from './corruption.js';

const each = (x: Raster, f: (value: number) => number): Raster => ({ ...x, data: x.data.map(f) });

export const gaussianNoise: Corruption<number> = {
  name: 'gaussian_noise', abbreviation: 'gn', summary: 'additive normal noise, as in low light',
  constants: { cifar: [0.04, 0.06, 0.08, 0.09, 0.1], imagenet: [0.08, 0.12, 0.18, 0.26, 0.38] },
  apply: (x, c, { rng }) => each(x, (v) => v + rng.normal(0, c)),
};

export const shotNoise: Corruption<number> = {
  name: 'shot_noise', abbreviation: 'sn', summary: 'Poisson noise of discrete light',
  constants: { cifar: [500, 250, 100, 75, 50], imagenet: [60, 25, 12, 5, 3] },
  apply: (x, c, { rng }) => each(x, (v) => poisson(v * c, rng) / c),
};

export const impulseNoise: Corruption<number> = {
  name: 'impulse_noise', abbreviation: 'in', summary: 'salt and pepper, as from bit errors',
  constants: { cifar: [0.01, 0.02, 0.03, 0.05, 0.07], imagenet: [0.03, 0.06, 0.09, 0.17, 0.27] },
  apply: (x, c, { rng }) => each(x, (v) => {
    const u = rng.uniform();
    return u < c / 2 ? 0 : u < c ? 1 : v;
  }),
};

export const speckleNoise: Corruption<number> = {
  name: 'speckle_noise', abbreviation: 'sp', summary: 'noise in proportion to the value (hold-out)',
  constants: { cifar: [0.06, 0.1, 0.12, 0.16, 0.2], imagenet: [0.15, 0.2, 0.35, 0.45, 0.6] },
  apply: (x, c, { rng }) => each(x, (v) => v + v * rng.normal(0, c)),
};

/** The shift that an additive prompt can undo: c·sin(2π(i(k + 1) + 2j)/32) at row i, column j of channel k. */
export const fixedPattern: Corruption<number> = {
  name: 'fixed_pattern', abbreviation: 'fp', summary: 'the same waves added to every image, as by a flawed sensor (not of the benchmark)',
  constants: { cifar: [0.06, 0.12, 0.18, 0.24, 0.3], imagenet: [0.06, 0.12, 0.18, 0.24, 0.3] },
  apply: (x, c) => ({ ...x, data: x.data.map((v, o) => {
    const k = o % x.channels, j = Math.floor(o / x.channels) % x.width, i = Math.floor(o / x.channels / x.width);
    return v + c * Math.sin((2 * Math.PI * (i * (k + 1) + 2 * j)) / 32);
  }) }),
};

/** Cumulative probabilities by mean; 8-bit images have at most 256 means a severity. */
const cumulative = new Map<number, Float64Array>();

/** A Poisson deviate by inversion of the tabulated distribution; `mean` at most 700, where e^−mean still is a number. */
function poisson(mean: number, rng: Rng): number {
  const table = cumulative.get(mean) ?? tabulate(mean);
  const u = rng.uniform();
  let low = 0, high = table.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (table[middle] > u) high = middle;
    else low = middle + 1;
  }
  return low;
}

function tabulate(mean: number): Float64Array {
  const table = new Float64Array(Math.ceil(mean + 12 * Math.sqrt(mean) + 12));
  let p = Math.exp(-mean), sum = 0;
  for (let k = 0; k < table.length; k++, p *= mean / k) table[k] = sum += p;
  if (cumulative.size >= 4096) cumulative.clear();
  cumulative.set(mean, table);
  return table;
}
