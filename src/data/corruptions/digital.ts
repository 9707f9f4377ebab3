import { raster, toBytes, toRaster, type Raster } from '../raster.js';
import type { Corruption } from './corruption.js';
import { jpegRoundTrip } from './jpeg.js';

export const pixelate: Corruption<number> = {
  name: 'pixelate', abbreviation: 'px', summary: 'shrunk and enlarged again by area means',
  constants: { cifar: [0.95, 0.9, 0.85, 0.75, 0.65], imagenet: [0.6, 0.5, 0.4, 0.3, 0.25] },
  apply: (x, c) => boxResize(boxResize(x, Math.trunc(x.height * c), Math.trunc(x.width * c)), x.height, x.width),
};

/** Each output pixel is the mean over the exact interval of the input that it covers. */
export function boxResize(x: Raster, height: number, width: number): Raster {
  const narrow = raster(x.height, width, x.channels);
  boxAxis(x.width, width, (to, from, weight) => {
    for (let y = 0; y < x.height; y++) {
      for (let c = 0; c < x.channels; c++) {
        narrow.data[(y * width + to) * x.channels + c] += weight * x.data[(y * x.width + from) * x.channels + c];
      }
    }
  });
  const out = raster(height, width, x.channels);
  const stride = width * x.channels;
  boxAxis(x.height, height, (to, from, weight) => {
    for (let i = 0; i < stride; i++) out.data[to * stride + i] += weight * narrow.data[from * stride + i];
  });
  return out;
}

function boxAxis(n: number, m: number, visit: (to: number, from: number, weight: number) => void): void {
  const length = n / m;
  for (let to = 0; to < m; to++) {
    const start = to * length, end = (to + 1) * length;
    for (let from = Math.floor(start); from < Math.min(n, Math.ceil(end - 1e-9)); from++) {
      visit(to, from, (Math.min(end, from + 1) - Math.max(start, from)) / length);
    }
  }
}

export const jpegCompression: Corruption<number> = {
  name: 'jpeg_compression', abbreviation: 'jp', summary: 'JPEG of low quality, 4:2:0',
  constants: { cifar: [80, 65, 58, 50, 40], imagenet: [25, 18, 15, 10, 7] },
  apply(x, quality) {
    // Half a level up, so that the caller's truncation gives the bytes back.
    const data = jpegRoundTrip({ height: x.height, width: x.width, data: toBytes({ ...x, data: x.data.map((v) => v + 0.5 / 255) }) }, quality);
    const out = toRaster({ height: x.height, width: x.width, data });
    return { ...out, data: out.data.map((v) => v + 0.5 / 255) };
  },
};
