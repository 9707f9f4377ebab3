import type { Rng } from '@graft/kernels';

/** An image [H, W, 3] in [0, 1]. */
type Image = Float32Array;
type Change = (image: Image, H: number, W: number, level: number, rng: Rng) => Image;

/**
 * A copy in the manner of AugMix (Hendrycks et al., 2020) at severity 1, as MEMO uses it: a crop after padding with 4 black pixels and a
 * mirror half of the time; then a mixture of three chains of one to three changes (weights Dir(1, 1, 1)), blended with the crop (Beta(1, 1)).
 */
export function augmix(image: Image, H: number, W: number, rng: Rng): Image {
  const flip = rng.uniform() < 0.5, dy = rng.integer(9) - 4, dx = rng.integer(9) - 4;
  const base = mapped(image, H, W, (y, x) => [y + dy, (flip ? W - 1 - x : x) + dx]);
  const weights = Array.from({ length: 3 }, () => -Math.log(1 - rng.uniform())), sum = weights.reduce((a, b) => a + b), keep = rng.uniform();
  const out = base.map((v) => v * keep);
  for (const weight of weights) {
    let chain = base;
    for (let depth = 1 + rng.integer(3); depth > 0; depth--) chain = CHANGES[rng.integer(CHANGES.length)](chain, H, W, rng.uniform(0.1, 1) / 10, rng);
    chain.forEach((v, i) => { out[i] += ((1 - keep) * weight * v) / sum; });
  }
  return out;
}

/** Bilinear samples of the image where `from` says, 0 outside. */
function mapped(image: Image, H: number, W: number, from: (y: number, x: number) => [number, number]): Image {
  const at = (y: number, x: number, c: number): number => (y < 0 || y >= H || x < 0 || x >= W ? 0 : image[(y * W + x) * 3 + c]);
  const out = new Float32Array(image.length);
  for (let i = 0, o = 0; i < H; i++) for (let j = 0; j < W; j++) {
    const [y, x] = from(i, j), y0 = Math.floor(y), x0 = Math.floor(x), fy = y - y0, fx = x - x0;
    for (let c = 0; c < 3; c++, o++)
      out[o] = (1 - fy) * ((1 - fx) * at(y0, x0, c) + fx * at(y0, x0 + 1, c)) + fy * ((1 - fx) * at(y0 + 1, x0, c) + fx * at(y0 + 1, x0 + 1, c));
  }
  return out;
}

const either = (rng: Rng, v: number): number => (rng.uniform() < 0.5 ? -v : v);

/** Each channel by a function made from its 256 levels. */
function byLevels(image: Image, make: (histogram: Float64Array) => (level: number) => number): Image {
  const out = new Float32Array(image.length);
  for (let c = 0; c < 3; c++) {
    const histogram = new Float64Array(256);
    for (let i = c; i < image.length; i += 3) histogram[Math.round(image[i] * 255)]++;
    const f = make(histogram);
    for (let i = c; i < image.length; i += 3) out[i] = f(Math.round(image[i] * 255)) / 255;
  }
  return out;
}

const autocontrast: Change = (image) => byLevels(image, (histogram) => {
  const low = histogram.findIndex((n) => n > 0), high = histogram.findLastIndex((n) => n > 0);
  return (v) => (high > low ? ((v - low) * 255) / (high - low) : v);
});

/** As Pillow's: the cumulative histogram in steps of (all but the last level's pixels) / 255. */
const equalize: Change = (image) => byLevels(image, (histogram) => {
  const used = histogram.filter((n) => n > 0), step = Math.floor((image.length / 3 - used[used.length - 1]) / 255);
  if (used.length < 2 || step === 0) return (v) => v;
  let n = Math.floor(step / 2);
  const table = histogram.map((count) => {
    const level = Math.floor(n / step);
    n += count;
    return Math.min(255, level);
  });
  return (v) => table[v];
});

const rotate: Change = (image, H, W, level, rng) => {
  const angle = (either(rng, Math.floor(level * 30)) * Math.PI) / 180, cos = Math.cos(angle), sin = Math.sin(angle), cy = (H - 1) / 2, cx = (W - 1) / 2;
  return mapped(image, H, W, (y, x) => [cy + cos * (y - cy) - sin * (x - cx), cx + sin * (y - cy) + cos * (x - cx)]);
};
const solarize: Change = (image, _H, _W, level) => {
  const threshold = (256 - Math.floor(level * 256)) / 255;
  return image.map((v) => (v < threshold ? v : 1 - v));
};
const posterize: Change = (image, _H, _W, level) => {
  const step = 2 ** (4 + Math.floor(level * 4));
  return image.map((v) => (Math.floor(Math.round(v * 255) / step) * step) / 255);
};
const shearX: Change = (image, H, W, level, rng) => {
  const shear = either(rng, level * 0.3);
  return mapped(image, H, W, (y, x) => [y, x + shear * (y + 0.5)]);
};
const shearY: Change = (image, H, W, level, rng) => {
  const shear = either(rng, level * 0.3);
  return mapped(image, H, W, (y, x) => [y + shear * (x + 0.5), x]);
};
const translateX: Change = (image, H, W, level, rng) => {
  const by = either(rng, Math.floor((level * W) / 3));
  return mapped(image, H, W, (y, x) => [y, x + by]);
};
const translateY: Change = (image, H, W, level, rng) => {
  const by = either(rng, Math.floor((level * H) / 3));
  return mapped(image, H, W, (y, x) => [y + by, x]);
};

const CHANGES: readonly Change[] = [autocontrast, equalize, rotate, solarize, shearX, shearY, translateX, translateY, posterize];
