import { Field, Int64, Schema } from 'apache-arrow';
import { Rng } from '@graft/kernels';
import { withClassLabel } from '../../formats/features.js';
import { batched } from '../import/importer.js';
import { rawField } from '../import/images.js';
import { gaussianBlur, raster, toBytes, type Raster } from '../raster.js';
import type { Generator } from './generator.js';

const SIDE = 32;
const LUMA = [0.299, 0.587, 0.114];

/** Whether a point belongs to a shape of radius r; u, v are relative to its centre, turned with it; q = max(|u|, |v|). */
type Mask = (u: number, v: number, r: number, q: number) => boolean;

const SHAPES: Record<string, Mask> = {
  disc: (u, v, r) => u * u + v * v <= r * r,
  ring: (u, v, r) => Math.hypot(u, v) >= 0.6 * r && Math.hypot(u, v) <= r,
  square: (_u, _v, r, q) => q <= 0.8 * r,
  frame: (_u, _v, r, q) => q >= 0.5 * r && q <= 0.85 * r,
  triangle: (u, v, r) => v >= -0.8 * r + 1.6 * Math.abs(u) && v <= 0.7 * r,
  plus: (u, v, r) => (Math.abs(u) <= 0.25 * r && Math.abs(v) <= r) || (Math.abs(v) <= 0.25 * r && Math.abs(u) <= r),
  cross: (u, v, r, q) => (Math.abs(u - v) <= 0.4 * r || Math.abs(u + v) <= 0.4 * r) && q <= 0.85 * r,
  'horizontal stripes': (_u, v, r, q) => q <= 0.9 * r && Math.floor((v + 0.9 * r) / (0.36 * r)) % 2 === 0,
  'vertical stripes': (u, _v, r, q) => q <= 0.9 * r && Math.floor((u + 0.9 * r) / (0.36 * r)) % 2 === 0,
  checker: (u, v, r, q) => q <= 0.9 * r && u > 0 === v > 0,
};

const MASKS = Object.values(SHAPES);

export const shapes10: Generator = {
  name: 'shapes10',
  summary: 'coloured shapes of ten classes, 32×32, with a line and texture as distractors',
  options: {},
  make(n, seed) {
    const schema = withClassLabel(new Schema([rawField('image', [SIDE, SIDE, 3]), new Field('label', new Int64(), false)]), 'label', Object.keys(SHAPES));
    const labels = new Rng(seed, 'shapes10', 'labels').shuffle(Uint8Array.from({ length: n }, (_, i) => i % MASKS.length));
    async function* rows(): AsyncGenerator<{ image: Uint8Array; label: number }> {
      for (let i = 0; i < n; i++) yield { image: drawShape(labels[i], new Rng(seed, 'shapes10', i)), label: labels[i] };
    }
    return { schema, batches: batched(schema, rows()) };
  },
};

/** One picture of class `label`: shape, line, texture. @returns RGB bytes [32, 32, 3] */
export function drawShape(label: number, rng: Rng): Uint8Array {
  const colour = (): number[] => [rng.uniform(), rng.uniform(), rng.uniform()];
  const luma = (c: number[]): number => c.reduce((sum, v, i) => sum + LUMA[i] * v, 0);
  let front = colour(), back = colour();
  while (Math.abs(luma(front) - luma(back)) < 0.2) [front, back] = [colour(), colour()];
  const cx = 15.5 + rng.uniform(-5, 5), cy = 15.5 + rng.uniform(-5, 5), r = rng.uniform(7, 11), turn = rng.uniform(-0.25, 0.25);
  const px = rng.uniform(0, SIDE), py = rng.uniform(0, SIDE), slope = rng.uniform(0, Math.PI), line = colour();
  const grain = texture(rng);
  const image = raster(SIDE, SIDE, 3);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const u = Math.cos(turn) * (x - cx) + Math.sin(turn) * (y - cy), v = -Math.sin(turn) * (x - cx) + Math.cos(turn) * (y - cy);
      const onLine = Math.abs(Math.sin(slope) * (x - px) - Math.cos(slope) * (y - py)) < 0.7;
      const c = onLine ? line : MASKS[label](u, v, r, Math.max(Math.abs(u), Math.abs(v))) ? front : back;
      for (let k = 0; k < 3; k++) image.data[(y * SIDE + x) * 3 + k] = c[k] + grain.data[(y * SIDE + x) * 3 + k];
    }
  }
  return toBytes(image);
}

/** White noise smoothed over a pixel, each channel with a standard deviation of .07. */
function texture(rng: Rng): Raster {
  const noise = raster(SIDE, SIDE, 3);
  for (let i = 0; i < noise.data.length; i++) noise.data[i] = rng.normal();
  const smooth = gaussianBlur(noise, 1);
  for (let c = 0; c < 3; c++) {
    let sum = 0, squares = 0;
    for (let i = c; i < smooth.data.length; i += 3) {
      sum += smooth.data[i];
      squares += smooth.data[i] ** 2;
    }
    const count = SIDE * SIDE, std = Math.sqrt(squares / count - (sum / count) ** 2);
    for (let i = c; i < smooth.data.length; i += 3) smooth.data[i] *= 0.07 / std;
  }
  return smooth;
}
