import type { Rng } from '@graft/kernels/random';
import { bilinear, gaussianBlur, raster, reflect, reflect101, type Raster } from '../raster.js';
import type { Corruption } from './corruption.js';

/** The published ImageNet-C constants count in multiples of 244 for images of 224. */
const IMAGENET_UNIT = 244 / 224;

export const elasticTransform: Corruption<[alpha: number, sigma: number, jitter: number]> = {
  name: 'elastic_transform', abbreviation: 'el', summary: 'a jittered affine map, then a smooth random displacement',
  constants: {
    cifar: [[0, 0, 0.08], [0.05, 0.2, 0.07], [0.08, 0.06, 0.06], [0.1, 0.04, 0.05], [0.1, 0.03, 0.03]],
    imagenet: [[2, 0.7, 0.1], [2, 0.08, 0.2], [0.05, 0.01, 0.02], [0.07, 0.01, 0.02], [0.12, 0.01, 0.02]],
  },
  apply(x, c, { rng, scale }) {
    const unit = Math.min(x.height, x.width) * (scale === 'imagenet' ? IMAGENET_UNIT : 1);
    const [alpha, sigma, jitter] = c.map((v) => v * unit);
    const moved = jitteredAffine(x, jitter, rng);
    if (alpha === 0) return moved;
    const dx = displacement(x, alpha, sigma, rng), dy = displacement(x, alpha, sigma, rng);
    const out = raster(x.height, x.width, x.channels);
    for (let y = 0, i = 0; y < x.height; y++) {
      for (let column = 0; column < x.width; column++, i++) bilinear(moved, y + dy[i], column + dx[i], reflect, out.data, i * x.channels);
    }
    return out;
  },
};

function displacement(x: Raster, alpha: number, sigma: number, rng: Rng): Float64Array {
  const field = raster(x.height, x.width, 1);
  for (let i = 0; i < field.data.length; i++) field.data[i] = rng.uniform(-1, 1);
  return gaussianBlur(field, sigma, reflect, 3).data.map((v) => alpha * v);
}

/** The affine map that takes three points of the image to themselves plus U(−jitter, jitter) in each coordinate. */
function jitteredAffine(x: Raster, jitter: number, rng: Rng): Raster {
  const cx = Math.floor(x.width / 2), cy = Math.floor(x.height / 2), s = Math.floor(Math.min(x.height, x.width) / 3);
  const from = [[cx + s, cy + s], [cx + s, cy - s], [cx - s, cy - s]];
  const to = from.map(([px, py]) => [px + rng.uniform(-jitter, jitter), py + rng.uniform(-jitter, jitter)]);
  // A pixel of the output looks up where it came from: the map from `to` to `from`.
  const [ax, bx, ox] = affineRow(to, from.map(([px]) => px));
  const [ay, by, oy] = affineRow(to, from.map(([, py]) => py));
  const out = raster(x.height, x.width, x.channels);
  for (let y = 0, i = 0; y < x.height; y++) {
    for (let column = 0; column < x.width; column++, i += x.channels) {
      bilinear(x, ay * column + by * y + oy, ax * column + bx * y + ox, reflect101, out.data, i);
    }
  }
  return out;
}

/** a, b, o with a·x + b·y + o = v at three points (Cramer's rule). */
function affineRow(points: number[][], v: number[]): [number, number, number] {
  const [[x0, y0], [x1, y1], [x2, y2]] = points;
  const det = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0);
  const a = ((v[1] - v[0]) * (y2 - y0) - (v[2] - v[0]) * (y1 - y0)) / det;
  const b = ((x1 - x0) * (v[2] - v[0]) - (x2 - x0) * (v[1] - v[0])) / det;
  return [a, b, v[0] - a * x0 - b * y0];
}
