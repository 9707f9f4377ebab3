import { tf, type Rng, type Tensor4D } from '@graft/kernels';
import { dataError } from '../errors.js';
import type { Pixels } from '../data/image.js';

/** Images as a diffusion model takes them, in [-1, 1]: flat [B, H, W, channels]. Of one channel is the mean of red, green and blue. */
export function normalised(images: readonly Pixels[], channels: number): Float32Array {
  checkChannels(channels);
  const pixels = images.reduce((n, { data }) => n + data.length / 3, 0), out = new Float32Array(pixels * channels);
  let at = 0;
  for (const { data } of images) {
    for (let i = 0; i < data.length; i += 3) {
      if (channels === 3) for (let c = 0; c < 3; c++) out[at++] = data[i + c] / 127.5 - 1;
      else out[at++] = (data[i] + data[i + 1] + data[i + 2]) / 382.5 - 1;
    }
  }
  return out;
}

/** The other way round: uint8 RGB, an image after the other; x is cut to [-1, 1]. */
export function pixelBytes(x: Tensor4D): Uint8Array {
  const channels = x.shape[3];
  checkChannels(channels);
  const values = x.dataSync(), out = new Uint8Array((values.length / channels) * 3);
  for (let i = 0; i < out.length; i++) out[i] = Math.round(Math.min(1, Math.max(-1, values[channels === 3 ? i : Math.floor(i / 3)])) * 127.5 + 127.5);
  return out;
}

function checkChannels(channels: number): void {
  if (channels !== 1 && channels !== 3) throw dataError(`a diffusion model of ${channels} channels works on something else than images, which have 1 or 3`);
}

/** Standard normal noise for several images, each from a stream of its own: [B, ...shape]. */
export function noiseFrom(streams: readonly Rng[], shape: readonly number[]): tf.Tensor {
  const size = shape.reduce((a, b) => a * b, 1), values = new Float32Array(streams.length * size);
  streams.forEach((rng, b) => { for (let i = 0; i < size; i++) values[b * size + i] = rng.normal(); });
  return tf.tensor(values, [streams.length, ...shape]);
}
