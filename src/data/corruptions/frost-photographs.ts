import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { dataError } from '../../errors.js';
import { inputFailure, readSmall } from '../../formats/input.js';
import { decodeImage } from '../image.js';
import { bilinear, nearest, raster, toRaster, type Raster } from '../raster.js';
import type { Scale } from './corruption.js';
import { FROST_PHOTOGRAPHS } from './weather.js';

/** For images of 32 × 32 the published generator shrinks the photographs to a fifth. */
const CIFAR_SHRINK = 0.2;

/** The photographs of a folder at the size each scale needs. */
export type FrostPhotographs = Record<Scale, Raster[]>;

/**
 * The first five pictures of a folder, in the order of their names.
 * @throws GraftError (65) where there is none, (66) where the folder is missing
 */
export async function loadFrost(folder: string): Promise<FrostPhotographs> {
  let names: string[];
  try {
    names = readdirSync(folder).filter((n) => /\.(png|jpe?g|webp)$/i.test(n)).sort().slice(0, FROST_PHOTOGRAPHS);
  } catch (error) {
    throw inputFailure(folder, error);
  }
  if (names.length === 0) throw dataError(`${folder}: holds no pictures (.png, .jpg)`);
  const imagenet = await Promise.all(names.map(async (n) => toRaster(await decodeImage(await readSmall(join(folder, n)), join(folder, n)))));
  return { imagenet, cifar: imagenet.map((p) => shrink(p, CIFAR_SHRINK)) };
}

/** Bilinear samples at pixel centres, without a low-pass filter. */
function shrink(x: Raster, factor: number): Raster {
  const out = raster(Math.max(1, Math.round(x.height * factor)), Math.max(1, Math.round(x.width * factor)), x.channels);
  for (let y = 0, i = 0; y < out.height; y++) {
    for (let column = 0; column < out.width; column++, i += x.channels) {
      bilinear(x, ((y + 0.5) * x.height) / out.height - 0.5, ((column + 0.5) * x.width) / out.width - 0.5, nearest, out.data, i);
    }
  }
  return out;
}
