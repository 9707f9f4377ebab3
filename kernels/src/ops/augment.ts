import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, runKernel } from '../fused.js';
import { hash32 } from '../random.js';

/** The changes of colour, each of which clips to [0, 1]. */
export const COLOURS = ['brightness', 'contrast', 'saturation', 'hue', 'gamma'] as const;
export type Colour = (typeof COLOURS)[number];

/** What is done to an image, in the order of the fields. */
export interface Augmentation {
  /** Changes of colour and their strengths, in the order they are made: factors, turns of the hue, exponent gamma. All five, once each. */
  colours: readonly (readonly [Colour, number])[];
  /** From output to input, about the centre: shifted by -dx and -dy pixels, rotated by this angle (radians), divided by the scale. */
  affine: { angle: number; scale: number; dx: number; dy: number };
  /** Standard deviation of the 5×5 blur, in pixels. */
  blur: number;
  /** Left to right. */
  flip: boolean;
  /** Standard deviation of the normal noise, and the two 32-bit keys that choose it. */
  noise: { std: number; keys: readonly [number, number] };
}

/**
 * Images changed at random: colour; an affine map over the image padded with its edge by half its size (bilinear, 0 beyond);
 * Gaussian blur; mirror; noise. x: [B, H, W, 3], clipped to [0, 1] first, as the result is. `draws`: one for all images or one each.
 * No gradient.
 */
export function augmentImages(x: tf.Tensor4D, draws: readonly Augmentation[]): tf.Tensor4D {
  if (draws.length !== 1 && draws.length !== x.shape[0]) throw new Error(`augmentImages: ${draws.length} draws for ${x.shape[0]} images`);
  if (hasKernel('GraftAugment')) return runKernel('GraftAugment', { x }, { draws: Float64Array.from(draws.flatMap(encode)) }) as tf.Tensor4D;
  const [, H, W] = x.shape, size = H * W * 3;
  const out = Float32Array.from(x.dataSync(), clip);
  for (let b = 0; b < x.shape[0]; b++) augmentImage(out.subarray(b * size, (b + 1) * size), H, W, draws.length === 1 ? draws[0] : draws[b], b);
  return tf.tensor4d(out, x.shape);
}

/** The layout of `decode` in cpu/augment.cc. */
function encode({ colours, affine, blur, flip, noise }: Augmentation): number[] {
  const strengths = new Map(colours);
  const { cosine, sine } = inverse(affine);
  return [
    ...colours.map(([name]) => COLOURS.indexOf(name)), ...COLOURS.map((name) => strengths.get(name)!),
    cosine, sine, affine.dx, affine.dy, ...taps(blur), noise.std, Number(flip), ...noise.keys,
  ];
}

const inverse = ({ angle, scale }: Augmentation['affine']): { cosine: number; sine: number } => ({ cosine: Math.cos(angle) / scale, sine: Math.sin(angle) / scale });

/** exp(-k²/2σ²) for k = 0, 1, 2, normalised over -2 … 2. */
function taps(sigma: number): [number, number, number] {
  const [one, two] = [1, 2].map((k) => Math.exp(-(k * k) / (2 * sigma * sigma)));
  const sum = 1 + 2 * one + 2 * two;
  return [1 / sum, one / sum, two / sum];
}

const clip = (v: number): number => (v < 0 ? 0 : v > 1 ? 1 : v);

/** One image in place: the reference. */
function augmentImage(rgb: Float32Array, H: number, W: number, o: Augmentation, index: number): void {
  for (const [name, strength] of o.colours) CHANGES[name](rgb, strength);
  blurred(warped(rgb, H, W, o.affine), H, W, taps(o.blur), o.flip, rgb);
  addNoise(rgb, index, o.noise);
}

const each = (rgb: Float32Array, f: (v: number) => number): void => { for (let i = 0; i < rgb.length; i++) rgb[i] = clip(f(rgb[i])); };
const grey = (rgb: Float32Array, i: number): number => 0.2989 * rgb[i] + 0.587 * rgb[i + 1] + 0.114 * rgb[i + 2];

const CHANGES: Record<Colour, (rgb: Float32Array, strength: number) => void> = {
  brightness: (rgb, factor) => each(rgb, (v) => v * factor),
  contrast(rgb, factor) {
    let sum = 0;
    for (let i = 0; i < rgb.length; i += 3) sum += grey(rgb, i);
    each(rgb, (v) => v * factor + sum * (3 / rgb.length) * (1 - factor));
  },
  saturation(rgb, factor) {
    for (let i = 0; i < rgb.length; i += 3) {
      const g = grey(rgb, i) * (1 - factor);
      for (let c = i; c < i + 3; c++) rgb[c] = clip(rgb[c] * factor + g);
    }
  },
  hue: (rgb, turns) => { for (let i = 0; i < rgb.length; i += 3) turnHue(rgb, i, turns); },
  gamma: (rgb, exponent) => each(rgb, (v) => Math.max(v, 1e-8) ** exponent),
};

/** Turns the hue of one pixel, saturation and value kept (HSV hexcone). */
function turnHue(rgb: Float32Array, i: number, turns: number): void {
  const r = rgb[i], g = rgb[i + 1], b = rgb[i + 2];
  const v = Math.max(r, g, b), chroma = v - Math.min(r, g, b);
  if (chroma === 0) return;
  const h = v === r ? (g - b) / chroma : v === g ? 2 + (b - r) / chroma : 4 + (r - g) / chroma;
  for (let c = 0; c < 3; c++) {
    const k = ((([5, 3, 1][c] + h + 6 * turns) % 6) + 6) % 6;
    rgb[i + c] = clip(v - chroma * Math.max(0, Math.min(k, 4 - k, 1)));
  }
}

const REACH = 2; // what the blur reads beyond the image

/** Bilinear samples over the image's area and the reach of the blur. */
function warped(rgb: Float32Array, H: number, W: number, affine: Augmentation['affine']): Float32Array {
  const { cosine, sine } = inverse(affine);
  const out = new Float32Array((H + 2 * REACH) * (W + 2 * REACH) * 3);
  const [top, left] = [H >> 1, W >> 1];
  const at = (y: number, x: number, c: number): number => {
    if (y < -top || y >= H + top || x < -left || x >= W + left) return 0;
    return rgb[(Math.min(H - 1, Math.max(0, y)) * W + Math.min(W - 1, Math.max(0, x))) * 3 + c];
  };
  let o = 0;
  for (let i = -REACH; i < H + REACH; i++) for (let j = -REACH; j < W + REACH; j++, o += 3) {
    const dy = i - (H - 1) / 2 - affine.dy, dx = j - (W - 1) / 2 - affine.dx;
    const y = cosine * dy - sine * dx + (H - 1) / 2, x = cosine * dx + sine * dy + (W - 1) / 2;
    const y0 = Math.floor(y), x0 = Math.floor(x), fy = y - y0, fx = x - x0;
    for (let c = 0; c < 3; c++)
      out[o + c] = (1 - fy) * ((1 - fx) * at(y0, x0, c) + fx * at(y0, x0 + 1, c)) + fy * ((1 - fx) * at(y0 + 1, x0, c) + fx * at(y0 + 1, x0 + 1, c));
  }
  return out;
}

/** Separable blur of an image with a margin into one without, flipped left to right if asked. */
function blurred(padded: Float32Array, H: number, W: number, [t0, t1, t2]: [number, number, number], flip: boolean, out: Float32Array): void {
  const w = W + 2 * REACH;
  const weights = [t2, t1, t0, t1, t2];
  const rows = new Float32Array((H + 2 * REACH) * W * 3);
  const sum = (from: Float32Array, start: number, step: number): number => weights.reduce((s, t, k) => s + t * from[start + k * step], 0);
  for (let i = 0; i < H + 2 * REACH; i++) for (let j = 0; j < W; j++) for (let c = 0; c < 3; c++) rows[(i * W + j) * 3 + c] = sum(padded, (i * w + j) * 3 + c, 3);
  for (let i = 0; i < H; i++) for (let j = 0; j < W; j++) for (let c = 0; c < 3; c++)
    out[(i * W + (flip ? W - 1 - j : j)) * 3 + c] = clip(sum(rows, (i * W + j) * 3 + c, W * 3));
}

/** Box and Muller over hashes of the element's index: elements p and p + half share a radius and an angle. */
function addNoise(rgb: Float32Array, index: number, { std, keys: [key0, key1] }: Augmentation['noise']): void {
  const half = rgb.length >> 1;
  for (let p = 0; p < half; p++) {
    const h = hash32(hash32((index * half + p) ^ key0) + key1), k = hash32(h + key0);
    const radius = std * Math.sqrt(-2 * Math.log(((h >>> 8) + 1) / 2 ** 24)), angle = (((k >>> 8) / 2 ** 23 - 1) * Math.PI) / 4;
    const sine = Math.sin(angle), cosine = Math.cos(angle) * (k & 2 ? -1 : 1);
    rgb[p] = clip(rgb[p] + radius * (k & 1 ? sine : cosine));
    rgb[p + half] = clip(rgb[p + half] + radius * (k & 1 ? cosine : sine));
  }
}
