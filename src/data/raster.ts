/** Pixels in rows, channels last: `data[(y * width + x) * channels + c]`. */
export interface Raster { height: number; width: number; channels: number; data: Float64Array }

/** An 8-bit RGB image, HWC. */
export interface RgbImage { height: number; width: number; data: Uint8Array }

export const raster = (height: number, width: number, channels: number): Raster => ({
  height, width, channels, data: new Float64Array(height * width * channels),
});

/** 0…255 to [0, 1]. */
export function toRaster(image: RgbImage): Raster {
  const x = raster(image.height, image.width, 3);
  for (let i = 0; i < x.data.length; i++) x.data[i] = image.data[i] / 255;
  return x;
}

/** A value this close below a whole level is that level: sums that are whole in exact arithmetic must not lose one. */
const ROUNDING = 1e-6;

/** [0, 1] to 0…255: clipped, then truncated as a cast to uint8 does. */
export function toBytes(x: Raster): Uint8Array {
  const out = new Uint8Array(x.data.length);
  for (let i = 0; i < out.length; i++) out[i] = Math.min(1, Math.max(0, x.data[i])) * 255 + ROUNDING;
  return out;
}

/** Which pixel stands for position `i` of a line of `n`, outside it as well. */
export type Border = (i: number, n: number) => number;

/** a a a | a b c d | d d d */
export const nearest: Border = (i, n) => (i < 0 ? 0 : i >= n ? n - 1 : i);

/** c b a | a b c d | d c b: half-sample symmetric. */
export const reflect: Border = (i, n) => {
  const j = ((i % (2 * n)) + 2 * n) % (2 * n);
  return j < n ? j : 2 * n - 1 - j;
};

/** d c b | a b c d | c b a: whole-sample symmetric ("reflect-101"). */
export const reflect101: Border = (i, n) => {
  if (n === 1) return 0;
  const j = ((i % (2 * n - 2)) + 2 * n - 2) % (2 * n - 2);
  return j < n ? j : 2 * n - 2 - j;
};

/** Gaussian taps exp(−k²/2σ²) for |k| ≤ ⌊truncate·σ + ½⌋, normalised. */
export function gaussianTaps(sigma: number, truncate = 4): Float64Array {
  const radius = sigma > 0 ? Math.floor(truncate * sigma + 0.5) : 0;
  const taps = Float64Array.from({ length: 2 * radius + 1 }, (_, i) => (radius ? Math.exp(-((i - radius) ** 2) / (2 * sigma * sigma)) : 1));
  const sum = taps.reduce((a, b) => a + b, 0);
  return taps.map((t) => t / sum);
}

/** Separable Gaussian blur with standard deviation `sigma` in pixels. */
export function gaussianBlur(x: Raster, sigma: number, border: Border = nearest, truncate = 4): Raster {
  const taps = gaussianTaps(sigma, truncate);
  return taps.length === 1 ? { ...x, data: x.data.slice() } : separable(x, taps, border);
}

/** The same odd number of taps along columns, then along rows. */
export function separable(x: Raster, taps: Float64Array, border: Border): Raster {
  const { height, width, channels } = x;
  const rows = raster(height, width, channels);
  const out = raster(height, width, channels);
  const radius = taps.length >> 1;
  const stride = width * channels;
  for (let y = 0; y < height; y++) {
    for (let k = 0; k < taps.length; k++) {
      const from = border(y + k - radius, height) * stride;
      for (let i = 0, to = y * stride, t = taps[k]; i < stride; i++) rows.data[to + i] += t * x.data[from + i];
    }
  }
  for (let k = 0; k < taps.length; k++) {
    const t = taps[k];
    for (let column = 0; column < width; column++) {
      const from = border(column + k - radius, width) * channels;
      for (let y = 0, to = column * channels; y < height; y++) {
        for (let c = 0; c < channels; c++) out.data[to + y * stride + c] += t * rows.data[from + y * stride + c];
      }
    }
  }
  return out;
}

/** Weighted sum of shifted copies: out(y, x) = Σ weight · in(y + dy, x + dx). */
export function gatherShifts(x: Raster, shifts: { dy: number; dx: number; weight: number }[], border: Border): Raster {
  const { height, width, channels } = x;
  const out = raster(height, width, channels);
  const column = new Int32Array(width);
  for (const { dy, dx, weight } of shifts) {
    for (let i = 0; i < width; i++) column[i] = border(i + dx, width) * channels;
    for (let y = 0; y < height; y++) {
      const from = border(y + dy, height) * width * channels;
      let to = y * width * channels;
      for (let i = 0; i < width; i++) for (let c = 0; c < channels; c++) out.data[to++] += weight * x.data[from + column[i] + c];
    }
  }
  return out;
}

/** Writes the bilinear sample of `x` at real coordinates (y, x) to `out[at…]`, one value a channel. */
export function bilinear(x: Raster, py: number, px: number, border: Border, out: Float64Array, at: number): void {
  const y0 = Math.floor(py), x0 = Math.floor(px);
  const fy = py - y0, fx = px - x0;
  const top = border(y0, x.height) * x.width, bottom = border(y0 + 1, x.height) * x.width;
  const left = border(x0, x.width), right = border(x0 + 1, x.width);
  for (let c = 0; c < x.channels; c++) {
    const a = x.data[(top + left) * x.channels + c], b = x.data[(top + right) * x.channels + c];
    const d = x.data[(bottom + left) * x.channels + c], e = x.data[(bottom + right) * x.channels + c];
    out[at + c] = (1 - fy) * ((1 - fx) * a + fx * b) + fy * ((1 - fx) * d + fx * e);
  }
}
