import { Rng } from '@graft/kernels/random';
import { toBytes, toRaster, type Raster, type RgbImage } from '../raster.js';

/** Which published constants are used: those of CIFAR-10-C (32x32) or of ImageNet-C (224x224). */
export type Scale = 'cifar' | 'imagenet';

/** Images whose shorter side has at most this many pixels take the constants of CIFAR-10-C by default. */
const LARGEST_CIFAR_SIDE = 64;

export interface CorruptionContext {
  rng: Rng;
  scale: Scale;
  /** Photographs of frost; without them frost is procedural. */
  frost?: Raster[];
  /** `copy` is what the published generator does, `swap` what it meant to do. */
  glass: 'copy' | 'swap';
}

/** One corruption of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions", ICLR 2019. */
export interface Corruption<C = any> { // eslint-disable-line @typescript-eslint/no-explicit-any
  name: string;
  /** As in the published orders of domains. */
  abbreviation: string;
  summary: string;
  /** The constant of each severity 1…5. */
  constants: Record<Scale, readonly [C, C, C, C, C]>;
  /** @param x RGB in [0, 1]; the result is clipped to [0, 1] and truncated to 8 bits by the caller. */
  apply(x: Raster, c: C, context: CorruptionContext): Raster;
}

export interface CorruptOptions {
  /** 1…5 */
  severity: number;
  seed: number;
  /** Identifies the image: with the seed it determines the noise, whatever the order of images. */
  row: string | number;
  scale?: Scale;
  frost?: Raster[];
  glass?: 'copy' | 'swap';
}

/** The constants that suit a size. */
export const scaleOf = (height: number, width: number): Scale => (Math.min(height, width) <= LARGEST_CIFAR_SIDE ? 'cifar' : 'imagenet');

/** Corrupts one image. @returns RGB bytes, HWC, of the same size */
export function corrupt(image: RgbImage, corruption: Corruption, options: CorruptOptions): Uint8Array {
  const scale = options.scale ?? scaleOf(image.height, image.width);
  const rng = new Rng(options.seed, corruption.name, options.severity, options.row);
  const c = corruption.constants[scale][options.severity - 1];
  return toBytes(corruption.apply(toRaster(image), c, { rng, scale, frost: options.frost, glass: options.glass ?? 'copy' }));
}
