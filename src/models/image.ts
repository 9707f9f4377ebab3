import { tf, type Tensor } from '@graft/kernels';
import { basename } from 'node:path';
import { dataError } from '../errors.js';
import type { Checkpoint } from '../formats/checkpoint.js';
import { readJson } from '../formats/checkpoint.js';
import type { Headers } from './modules.js';

/** What precedes an image network, from preprocessor_config.json or config.json. */
export interface Preprocessing {
  /** Per channel, of pixels in [0,1]. */
  mean: number[];
  std: number[];
  /** [height, width] images are resized to. */
  size?: readonly [number, number];
}

/** Statistics of ImageNet's training images, RGB. */
const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

export function preprocessing(checkpoint: Headers & Partial<Pick<Checkpoint, 'files'>>): Preprocessing {
  const file = checkpoint.files?.find((f) => basename(f) === 'preprocessor_config.json');
  const given = { ...checkpoint.config, ...(file ? readJson(file) : {}) } as Record<string, unknown>;
  const bad = (what: string): Error => dataError(`${file ?? `${checkpoint.path}/config.json`}: ${what}`);
  const channels = (key: string, otherwise: number[]): number[] => {
    const value = given[key] ?? otherwise;
    if (!Array.isArray(value) || value.length !== 3 || !value.every((v) => Number.isFinite(v))) throw bad(`'${key}' is ${JSON.stringify(value)}, it must be three numbers`);
    return value as number[];
  };
  const size = sizeOf(given.crop_size ?? given.size) ?? sizeOf(given.size);
  if (size && !size.every((n) => Number.isInteger(n) && n >= 1 && n <= MOST_SIDE)) throw bad(`images of ${size.join('×')} pixels are not read`);
  const std = channels('image_std', IMAGENET.std);
  if (std.includes(0)) throw bad("'image_std' is zero");
  return { mean: channels('image_mean', IMAGENET.mean), std, size };
}

/** Pixels along a side that no network reads. */
export const MOST_SIDE = 8192;

function sizeOf(size: unknown): readonly [number, number] | undefined {
  if (typeof size === 'number') return [size, size];
  if (typeof size !== 'object' || size === null) return undefined;
  const { height, width, shortest_edge: edge } = size as Record<string, number | undefined>;
  if (height !== undefined && width !== undefined) return [height, width];
  return edge !== undefined ? [edge, edge] : undefined;
}

/** (x - mean)/std per channel. x: [B, H, W, 3]. */
export const normalise = (x: Tensor, { mean, std }: Preprocessing): Tensor => tf.div(tf.sub(x, tf.tensor1d(mean)), tf.tensor1d(std));
