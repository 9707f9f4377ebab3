import { Rng } from '@graft/kernels/random';

export const SHAPES = ['disc', 'ring', 'square', 'frame', 'triangle', 'plus', 'cross', 'horizontal-stripes', 'vertical-stripes', 'checker'];

export const SIZE = 32;

type Inside = (u: number, v: number, r: number) => boolean;

const q = (u: number, v: number): number => Math.max(Math.abs(u), Math.abs(v));
const evenStripe = (t: number, r: number): boolean => Math.floor((t + 0.9 * r) / (0.36 * r)) % 2 === 0;

/** The masks, in the order of SHAPES; u, v are the coordinates about the centre, turned by θ. */
export const MASKS: Inside[] = [
  (u, v, r) => u * u + v * v <= r * r,
  (u, v, r) => Math.hypot(u, v) >= 0.6 * r && Math.hypot(u, v) <= r,
  (u, v, r) => q(u, v) <= 0.8 * r,
  (u, v, r) => q(u, v) >= 0.5 * r && q(u, v) <= 0.85 * r,
  (u, v, r) => -0.8 * r + 1.6 * Math.abs(u) <= v && v <= 0.7 * r,
  (u, v, r) => (Math.abs(u) <= 0.25 * r && Math.abs(v) <= r) || (Math.abs(v) <= 0.25 * r && Math.abs(u) <= r),
  (u, v, r) => (Math.abs(u - v) <= 0.4 * r || Math.abs(u + v) <= 0.4 * r) && q(u, v) <= 0.85 * r,
  (u, v, r) => q(u, v) <= 0.9 * r && evenStripe(v, r),
  (u, v, r) => q(u, v) <= 0.9 * r && evenStripe(u, r),
  (u, v, r) => q(u, v) <= 0.9 * r && u > 0 === v > 0,
];

export type Colour = [number, number, number];
export const luma = ([r, g, b]: Colour): number => 0.299 * r + 0.587 * g + 0.114 * b;

/** Ten shapes in random colours, sizes and places over a line and a texture: 32×32 RGB, labels balanced and shuffled. */
export function* shapes10(n: number, seed: number): Generator<{ image: Uint8Array; label: number }> {
  const labels = new Rng('shapes10', seed, 'labels').shuffle(Array.from({ length: n }, (_, i) => i % SHAPES.length));
  for (let i = 0; i < n; i++) yield { image: draw(labels[i], new Rng('shapes10', seed, i)), label: labels[i] };
}

/** Shapes that are none of the ten: a sine band, a half disc, two lobes. */
const UNKNOWN: Inside[] = [
  (u, v, r) => Math.abs(v - 0.5 * r * Math.sin((2 * Math.PI * u) / r)) <= 0.25 * r && Math.abs(u) <= r,
  (u, v, r) => u * u + v * v <= r * r && u > 0.1 * r,
  (u, v, r) => Math.min(Math.hypot(u - 0.5 * r, v), Math.hypot(u + 0.5 * r, v)) <= 0.4 * r,
];

/** Pictures of such shapes over a texture, upright and without a line: 32×32 RGB, for streams with unknown classes. */
export function* shapesUnknown(n: number, seed: number): Generator<{ image: Uint8Array; is_ood: boolean }> {
  for (let i = 0; i < n; i++) {
    const rng = new Rng('shapes-unknown', seed, i), colour = (): Colour => [rng.uniform(), rng.uniform(), rng.uniform()];
    const fg = colour(), bg = colour(), cx = 15.5 + rng.uniform(-4, 4), cy = 15.5 + rng.uniform(-4, 4), r = rng.uniform(7, 11), noise = texture(rng);
    const image = Uint8Array.from(noise, (v, o) => {
      const k = Math.floor(o / 3), paint = UNKNOWN[i % UNKNOWN.length]((k % SIZE) - cx, Math.floor(k / SIZE) - cy, r) ? fg : bg;
      return Math.floor(Math.min(1, Math.max(0, paint[o % 3] + v)) * 255);
    });
    yield { image, is_ood: true };
  }
}

function draw(label: number, rng: Rng): Uint8Array {
  const colour = (): Colour => [rng.uniform(), rng.uniform(), rng.uniform()];
  let fg = colour(), bg = colour();
  while (Math.abs(luma(fg) - luma(bg)) < 0.2) [fg, bg] = [colour(), colour()];
  const cx = 15.5 + rng.uniform(-5, 5), cy = 15.5 + rng.uniform(-5, 5), r = rng.uniform(7, 11), theta = rng.uniform(-0.25, 0.25);
  const lx = rng.uniform(0, SIZE), ly = rng.uniform(0, SIZE), angle = rng.uniform(0, Math.PI), lineColour = colour();
  const noise = texture(rng);
  const image = new Uint8Array(SIZE * SIZE * 3);
  for (let i = 0, o = 0; i < SIZE; i++) for (let j = 0; j < SIZE; j++, o += 3) {
    const x = j - cx, y = i - cy;
    const u = Math.cos(theta) * x + Math.sin(theta) * y, v = -Math.sin(theta) * x + Math.cos(theta) * y;
    const online = Math.abs((j - lx) * Math.sin(angle) - (i - ly) * Math.cos(angle)) < 0.7;
    const paint = online ? lineColour : MASKS[label](u, v, r) ? fg : bg;
    for (let c = 0; c < 3; c++) image[o + c] = Math.floor(Math.min(1, Math.max(0, paint[c] + noise[o + c])) * 255);
  }
  return image;
}

/** White noise blurred with σ = 1 px in each channel, rescaled to a standard deviation of .07. */
export function texture(rng: Rng): Float32Array {
  const white = Float32Array.from({ length: SIZE * SIZE * 3 }, () => rng.normal());
  const smooth = blurAlong(blurAlong(white, 3), 3 * SIZE);
  const mean = smooth.reduce((a, b) => a + b, 0) / smooth.length;
  const std = Math.sqrt(smooth.reduce((a, b) => a + (b - mean) ** 2, 0) / smooth.length);
  return smooth.map((v) => ((v - mean) * 0.07) / std);
}

function blurAlong(values: Float32Array, stride: number): Float32Array {
  const taps = [-4, -3, -2, -1, 0, 1, 2, 3, 4].map((k) => Math.exp((-k * k) / 2));
  const sum = taps.reduce((a, b) => a + b, 0);
  return values.map((_, o) => {
    const at = Math.floor(o / stride) % SIZE;
    return taps.reduce((total, tap, k) => total + (tap / sum) * values[o + (Math.min(SIZE - 1, Math.max(0, at + k - 4)) - at) * stride], 0);
  });
}
