import type { RgbImage } from '../raster.js';

/** Tables K.1 and K.2 of ITU-T T.81. */
const LUMINANCE = [
  16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
  18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99];
const CHROMINANCE = [
  17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
  ...Array<number>(32).fill(99)];

/** `COSINES[u * 8 + x]`: the orthonormal 8-point DCT. */
const COSINES = Float64Array.from({ length: 64 }, (_, i) => {
  const u = i >> 3, x = i & 7;
  return (u === 0 ? Math.SQRT1_2 : 1) * 0.5 * Math.cos(((2 * x + 1) * u * Math.PI) / 16);
});

/** @param quality 1…100, with the scaling of the IJG library */
function quantisation(base: number[], quality: number): number[] {
  const scale = quality >= 50 ? 200 - 2 * quality : 5000 / quality;
  return base.map((t) => Math.min(255, Math.max(1, Math.floor((t * scale + 50) / 100))));
}

interface Plane { height: number; width: number; data: Float64Array }

/**
 * What a baseline JPEG of `quality` with 4:2:0 chroma makes of an image: colour transform, subsampling, quantised 8×8
 * cosine transform and back. Entropy coding loses nothing and is left out.
 */
export function jpegRoundTrip(image: RgbImage, quality: number): Uint8Array {
  const { height, width, data } = image;
  const tall = Math.ceil(height / 16) * 16, wide = Math.ceil(width / 16) * 16;
  const plane = (): Plane => ({ height: tall, width: wide, data: new Float64Array(tall * wide) });
  const [luma, blue, red] = [plane(), plane(), plane()];
  for (let y = 0, i = 0; y < tall; y++) {
    for (let x = 0; x < wide; x++, i++) {
      const from = (Math.min(y, height - 1) * width + Math.min(x, width - 1)) * 3;
      const r = data[from], g = data[from + 1], b = data[from + 2];
      luma.data[i] = Math.round(0.299 * r + 0.587 * g + 0.114 * b);
      blue.data[i] = Math.round(-0.168735892 * r - 0.331264108 * g + 0.5 * b + 128);
      red.data[i] = Math.round(0.5 * r - 0.418687589 * g - 0.081312411 * b + 128);
    }
  }
  const chroma = quantisation(CHROMINANCE, quality);
  const decodedLuma = quantise(luma, quantisation(LUMINANCE, quality));
  const decodedBlue = upsample(quantise(downsample(blue), chroma));
  const decodedRed = upsample(quantise(downsample(red), chroma));
  const out = new Uint8Array(height * width * 3);
  const byte = (v: number): number => Math.min(255, Math.max(0, Math.round(v)));
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = y * wide + x;
      const l = decodedLuma.data[i], b = decodedBlue.data[i] - 128, r = decodedRed.data[i] - 128;
      out[to++] = byte(l + 1.402 * r);
      out[to++] = byte(l - 0.344136286 * b - 0.714136286 * r);
      out[to++] = byte(l + 1.772 * b);
    }
  }
  return out;
}

/** Means of 2×2, rounded to whole levels. */
function downsample({ height, width, data }: Plane): Plane {
  const out = new Float64Array((height * width) / 4);
  for (let y = 0, to = 0; y < height; y += 2) {
    for (let x = 0; x < width; x += 2) {
      const i = y * width + x;
      out[to++] = Math.round((data[i] + data[i + 1] + data[i + width] + data[i + width + 1]) / 4);
    }
  }
  return { height: height / 2, width: width / 2, data: out };
}

/** Twice the size with the triangle filter (3/4, 1/4) that decoders use ("fancy upsampling"). */
function upsample({ height, width, data }: Plane): Plane {
  const out = new Float64Array(4 * height * width);
  for (let y = 0, to = 0; y < 2 * height; y++) {
    const near = (y >> 1) * width;
    const far = Math.min(height - 1, Math.max(0, (y >> 1) + (y & 1 ? 1 : -1))) * width;
    for (let x = 0; x < 2 * width; x++) {
      const a = x >> 1, b = Math.min(width - 1, Math.max(0, a + (x & 1 ? 1 : -1)));
      out[to++] = (9 * data[near + a] + 3 * data[near + b] + 3 * data[far + a] + data[far + b]) / 16;
    }
  }
  return { height: 2 * height, width: 2 * width, data: out };
}

/** Each 8×8 block through the transform, the quantiser and back, in whole levels 0…255. */
function quantise(plane: Plane, table: number[]): Plane {
  const { height, width } = plane;
  const out = new Float64Array(plane.data.length);
  const block = new Float64Array(64), half = new Float64Array(64);
  for (let top = 0; top < height; top += 8) {
    for (let left = 0; left < width; left += 8) {
      for (let i = 0; i < 64; i++) block[i] = plane.data[(top + (i >> 3)) * width + left + (i & 7)] - 128;
      transform(block, half, true);
      for (let i = 0; i < 64; i++) block[i] = Math.round(block[i] / table[i]) * table[i];
      transform(block, half, false);
      for (let i = 0; i < 64; i++) {
        out[(top + (i >> 3)) * width + left + (i & 7)] = Math.min(255, Math.max(0, Math.round(block[i] + 128)));
      }
    }
  }
  return { height, width, data: out };
}

/** The two-dimensional transform of an 8×8 block, in place: C·B·Cᵀ forward, Cᵀ·B·C back. */
function transform(block: Float64Array, half: Float64Array, forward: boolean): void {
  const cosine = (i: number, k: number): number => (forward ? COSINES[i * 8 + k] : COSINES[k * 8 + i]);
  for (let i = 0; i < 8; i++) {
    for (let j = 0; j < 8; j++) {
      let sum = 0;
      for (let k = 0; k < 8; k++) sum += cosine(i, k) * block[k * 8 + j];
      half[i * 8 + j] = sum;
    }
  }
  for (let i = 0; i < 8; i++) {
    for (let j = 0; j < 8; j++) {
      let sum = 0;
      for (let k = 0; k < 8; k++) sum += half[i * 8 + k] * cosine(j, k);
      block[i * 8 + j] = sum;
    }
  }
}
