import { tf, type Tensor2D } from '@graft/kernels';
import { dataError } from '../errors.js';
import { count } from './config.js';
import type { Headers } from './modules.js';

/** Rotation angles of the positions from `start` on. */
export type Rotation = (start: number, length: number) => { cos: Tensor2D; sin: Tensor2D };

/**
 * Rotary position embedding (Su et al., 2021): position t turns the pair i of a head by t·θ^(-2i/dh). `rope_type` linear divides
 * the frequencies by `factor`; llama3 only the low ones, with a smooth passage (Llama 3.1).
 * @returns cos and sin, [T, dh], each half repeated as Llama's checkpoints expect
 */
export function rope(checkpoint: Headers, headDim: number): Rotation {
  const { config } = checkpoint;
  const given = (config.rope_parameters ?? config.rope_scaling ?? {}) as Record<string, unknown>;
  const theta = Number(given.rope_theta ?? count(checkpoint, 'rope_theta', 10000));
  const frequencies = Array.from({ length: headDim / 2 }, (_, i) => theta ** (-2 * i / headDim)).map(scaling(checkpoint, given));
  return (start, length) => {
    const angles = Float32Array.from({ length: length * headDim }, (_, j) => (start + Math.floor(j / headDim)) * frequencies[(j % headDim) % frequencies.length]);
    const table = (f: (angle: number) => number): Tensor2D => tf.tensor2d(angles.map(f), [length, headDim]);
    return { cos: table(Math.cos), sin: table(Math.sin) };
  };
}

function scaling({ path }: Headers, given: Record<string, unknown>): (frequency: number) => number {
  const type = String(given.rope_type ?? given.type ?? 'default');
  const factor = Number(given.factor);
  if (type === 'default') return (f) => f;
  if (type === 'linear') return (f) => f / factor;
  if (type !== 'llama3') throw dataError(`${path}/config.json: rope_type '${type}' is not known: one of default, linear, llama3`);
  const [low, high, context] = ['low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings'].map((k) => Number(given[k]));
  return (f) => {
    const turns = context * f / (2 * Math.PI);
    const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return f * (kept + (1 - kept) / factor);
  };
}
