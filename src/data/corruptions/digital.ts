import { toBytes, toRaster, type Raster, type RgbImage } from '../raster.js';
import type { Corruption } from './corruption.js';
import { jpegRoundTrip } from './jpeg.js';

export const pixelate: Corruption<number> = {
  name: 'pixelate', abbreviation: 'px', summary: 'shrunk and enlarged again by box means',
  constants: { cifar: [0.95, 0.9, 0.85, 0.75, 0.65], imagenet: [0.6, 0.5, 0.4, 0.3, 0.25] },
  apply: (x, c) => onBytes(x, (image) => {
    const small = boxResize(image, Math.trunc(image.height * c), Math.trunc(image.width * c));
    return boxResize(small, image.height, image.width).data;
  }),
};

/**
 * The box filter of the published generator's library (Pillow): each output pixel is the mean of the whole pixels whose
 * centres lie in its interval of the input, rounded after the pass along rows and again after that along columns.
 */
function boxResize(image: RgbImage, height: number, width: number): RgbImage {
  const narrow = new Uint8Array(image.height * width * 3);
  const columns = boxes(image.width, width), rows = boxes(image.height, height);
  for (let y = 0, to = 0; y < image.height; y++) {
    for (const [start, end] of columns) {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let x = start; x < end; x++) sum += image.data[(y * image.width + x) * 3 + c];
        narrow[to++] = Math.round(sum / (end - start));
      }
    }
  }
  const data = new Uint8Array(height * width * 3);
  let to = 0;
  for (const [start, end] of rows) {
    for (let i = 0; i < width * 3; i++) {
      let sum = 0;
      for (let y = start; y < end; y++) sum += narrow[y * width * 3 + i];
      data[to++] = Math.round(sum / (end - start));
    }
  }
  return { height, width, data };
}

/** For each of `m` output positions the input positions [start, end) that it averages. */
function boxes(n: number, m: number): [start: number, end: number][] {
  const length = n / m, support = Math.max(length, 1);
  return Array.from({ length: m }, (_, i) => {
    const centre = (i + 0.5) * length;
    const inside = (j: number): boolean => j >= 0 && j < n && (j + 0.5 - centre) / support > -0.5 && (j + 0.5 - centre) / support <= 0.5;
    let start = Math.floor(centre - support / 2);
    while (!inside(start)) start++;
    let end = start + 1;
    while (inside(end)) end++;
    return [start, end];
  });
}

export const jpegCompression: Corruption<number> = {
  name: 'jpeg_compression', abbreviation: 'jp', summary: 'JPEG of low quality, 4:2:0',
  constants: { cifar: [80, 65, 58, 50, 40], imagenet: [25, 18, 15, 10, 7] },
  apply: (x, quality) => onBytes(x, (image) => jpegRoundTrip(image, quality)),
};

const onBytes = (x: Raster, f: (image: RgbImage) => Uint8Array): Raster =>
  toRaster({ height: x.height, width: x.width, data: f({ height: x.height, width: x.width, data: toBytes(x) }) });
