import { tf, type Rng, type Tensor4D } from '@graft/kernels';

type Colour = (rgb: Float32Array) => void;

/**
 * CoTTA's augmentation: colour jitter in random order, a random affine map over the edge-padded image, a 5×5 Gaussian blur,
 * a horizontal flip half of the time, and N(0, .005²) noise. The parameters are drawn once and hold for the whole batch.
 * x: [B, H, W, 3] in [0, 1]; so is the result.
 */
export function augment(x: Tensor4D, rng: Rng): Tensor4D {
  const [B, H, W] = x.shape;
  const pixels = Float32Array.from(x.dataSync(), clip);
  const image = H * W * 3;
  const jitter = colourJitter(rng, image);
  const inverse = inverseAffine(rng, 2 * H, 2 * W);
  const taps = gaussianTaps(rng.uniform(0.001, 0.5));
  const flip = rng.uniform() < 0.5;
  const out = new Float32Array(pixels.length);
  for (let b = 0; b < B; b++) {
    const one = pixels.subarray(b * image, (b + 1) * image);
    for (const colour of jitter) colour(one);
    blur(warp(one, H, W, inverse), H, W, taps, flip, out.subarray(b * image, (b + 1) * image));
  }
  for (let i = 0; i < out.length; i++) out[i] = clip(out[i] + rng.normal(0, 0.005));
  return tf.tensor4d(out, [B, H, W, 3]);
}

const clip = (v: number): number => (v < 0 ? 0 : v > 1 ? 1 : v);
const grey = (rgb: Float32Array, i: number): number => 0.2989 * rgb[i] + 0.587 * rgb[i + 1] + 0.114 * rgb[i + 2];

/** Brightness, contrast, saturation, hue and gamma with drawn strengths, in random order; each clips to [0, 1]. */
function colourJitter(rng: Rng, n: number): Colour[] {
  const brightness = rng.uniform(0.6, 1.4), contrast = rng.uniform(0.7, 1.3), saturation = rng.uniform(0.5, 1.5);
  const hue = rng.uniform(-0.06, 0.06), gamma = rng.uniform(0.7, 1.3);
  const each = (f: (v: number) => number): Colour => (rgb) => { for (let i = 0; i < n; i++) rgb[i] = clip(f(rgb[i])); };
  return rng.shuffle<Colour[]>([
    each((v) => v * brightness),
    (rgb) => {
      let mean = 0;
      for (let i = 0; i < n; i += 3) mean += grey(rgb, i);
      mean *= (3 / n) * (1 - contrast);
      each((v) => v * contrast + mean)(rgb);
    },
    (rgb) => {
      for (let i = 0; i < n; i += 3) {
        const g = grey(rgb, i) * (1 - saturation);
        for (let c = i; c < i + 3; c++) rgb[c] = clip(rgb[c] * saturation + g);
      }
    },
    (rgb) => { for (let i = 0; i < n; i += 3) shiftHue(rgb, i, hue); },
    each((v) => Math.max(v, 1e-8) ** gamma),
  ]);
}

/** Turns the hue of one pixel by `turns`, saturation and value kept (HSV hexcone). */
function shiftHue(rgb: Float32Array, i: number, turns: number): void {
  const r = rgb[i], g = rgb[i + 1], b = rgb[i + 2];
  const v = Math.max(r, g, b), chroma = v - Math.min(r, g, b);
  if (chroma === 0) return;
  const h = v === r ? (g - b) / chroma : v === g ? 2 + (b - r) / chroma : 4 + (r - g) / chroma;
  for (let c = 0; c < 3; c++) {
    const k = ((([5, 3, 1][c] + h + 6 * turns) % 6) + 6) % 6;
    rgb[i + c] = clip(v - chroma * Math.max(0, Math.min(k, 4 - k, 1)));
  }
}

/** The map from output to input coordinates, both relative to the centre: rotation, translation and scale undone. */
function inverseAffine(rng: Rng, height: number, width: number): { a: number; b: number; tx: number; ty: number } {
  const angle = (rng.uniform(-15, 15) * Math.PI) / 180;
  const tx = Math.round(rng.uniform(-1, 1) * (width / 16)), ty = Math.round(rng.uniform(-1, 1) * (height / 16));
  const scale = rng.uniform(0.9, 1.1);
  return { a: Math.cos(angle) / scale, b: Math.sin(angle) / scale, tx, ty };
}

const MARGIN = 2; // what the 5×5 blur reads beyond the crop

/** Bilinear samples of the edge-padded image (by half its size on each side, 0 beyond) over the centre crop and a margin. */
function warp(rgb: Float32Array, H: number, W: number, { a, b, tx, ty }: ReturnType<typeof inverseAffine>): Float32Array {
  const h = H + 2 * MARGIN, w = W + 2 * MARGIN;
  const out = new Float32Array(h * w * 3);
  const at = (y: number, x: number, c: number): number => {
    if (y < -H / 2 || y >= 1.5 * H || x < -W / 2 || x >= 1.5 * W) return 0;
    return rgb[(Math.min(H - 1, Math.max(0, y)) * W + Math.min(W - 1, Math.max(0, x))) * 3 + c];
  };
  for (let i = 0, o = 0; i < h; i++) {
    for (let j = 0; j < w; j++, o += 3) {
      const dy = i - MARGIN - (H - 1) / 2 - ty, dx = j - MARGIN - (W - 1) / 2 - tx;
      const y = -b * dx + a * dy + (H - 1) / 2, x = a * dx + b * dy + (W - 1) / 2;
      const y0 = Math.floor(y), x0 = Math.floor(x), fy = y - y0, fx = x - x0;
      for (let c = 0; c < 3; c++) {
        out[o + c] = (1 - fy) * ((1 - fx) * at(y0, x0, c) + fx * at(y0, x0 + 1, c)) + fy * ((1 - fx) * at(y0 + 1, x0, c) + fx * at(y0 + 1, x0 + 1, c));
      }
    }
  }
  return out;
}

/** Five taps exp(-k²/2σ²), normalised. */
function gaussianTaps(sigma: number): number[] {
  const taps = [-2, -1, 0, 1, 2].map((k) => Math.exp(-(k * k) / (2 * sigma * sigma)));
  const sum = taps.reduce((s, t) => s + t, 0);
  return taps.map((t) => t / sum);
}

/** Separable blur of an image with a margin into one without, flipped left to right if asked. */
function blur(padded: Float32Array, H: number, W: number, taps: number[], flip: boolean, out: Float32Array): void {
  const w = W + 2 * MARGIN;
  const rows = new Float32Array((H + 2 * MARGIN) * W * 3);
  for (let i = 0; i < H + 2 * MARGIN; i++) for (let j = 0; j < W; j++) for (let c = 0; c < 3; c++) {
    let sum = 0;
    for (let k = 0; k < 5; k++) sum += taps[k] * padded[(i * w + j + k) * 3 + c];
    rows[(i * W + j) * 3 + c] = sum;
  }
  for (let i = 0; i < H; i++) for (let j = 0; j < W; j++) for (let c = 0; c < 3; c++) {
    let sum = 0;
    for (let k = 0; k < 5; k++) sum += taps[k] * rows[((i + k) * W + j) * 3 + c];
    out[(i * W + (flip ? W - 1 - j : j)) * 3 + c] = sum;
  }
}
