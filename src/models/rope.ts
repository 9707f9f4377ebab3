import { tf, type Tensor2D } from '@graft/kernels';
import { dataError } from '../errors.js';
import { isObject } from '../formats/json.js';
import { count, real } from './config.js';
import type { Headers } from './modules.js';

/** Rotation angles of some positions. */
export type Rotation = (positions: readonly number[]) => { cos: Tensor2D; sin: Tensor2D };

/**
 * Rotary position embedding (Su et al., 2021): position t turns the pair i of a head by t·f_i, f_i = θ^(-2i/dh), which `rope_scaling`
 * changes so that more positions fit than were trained.
 * @returns cos and sin, [T, dh], each half repeated as Llama's checkpoints expect
 * @throws GraftError (65) for a `rope_type` that is not known or lacks a number
 */
export function rope(checkpoint: Headers, headDim: number): Rotation {
  const { config, path } = checkpoint;
  const given = config.rope_parameters ?? config.rope_scaling ?? {};
  if (!isObject(given)) throw dataError(`${path}/config.json: the rotary parameters are ${JSON.stringify(given)}, no object`);
  if (headDim % 2 !== 0) throw dataError(`${path}/config.json: heads of ${headDim} units cannot be rotated in pairs`);
  const type = String(given.rope_type ?? given.type ?? 'default');
  if (!Object.hasOwn(SCALINGS, type)) throw dataError(`${path}/config.json: rope_type '${type}' is not known: one of ${Object.keys(SCALINGS).join(', ')}`);
  const number = (key: string, otherwise?: number): number => {
    const value = given[key] ?? otherwise;
    if (typeof value !== 'number') throw dataError(`${path}/config.json: rope_type '${type}' needs a number '${key}'`);
    return value;
  };
  const context = count(checkpoint, 'max_position_embeddings', 2048);
  const trained = count(checkpoint, 'original_max_position_embeddings', number('original_max_position_embeddings', context));
  const theta = number('rope_theta', real(checkpoint, 'rope_theta', 10000));
  const scaled = (positions: number): Scaled => SCALINGS[type]({ theta, dim: headDim, context, trained, given, number }, positions);
  if (!scaled(1).frequencies.every(Number.isFinite)) throw dataError(`${path}/config.json: the rotary parameters give no frequencies: ${JSON.stringify({ rope_theta: theta, ...given })}`);
  return (positions) => {
    const { frequencies, gain } = scaled(Math.max(...positions) + 1);
    const angles = Float32Array.from({ length: positions.length * headDim }, (_, j) => positions[Math.floor(j / headDim)] * frequencies[(j % headDim) % frequencies.length]);
    const table = (f: (angle: number) => number): Tensor2D => tf.tensor2d(angles.map((a) => gain * f(a)), [positions.length, headDim]);
    return { cos: table(Math.cos), sin: table(Math.sin) };
  };
}

/** f_i, and what multiplies cos and sin. */
interface Scaled { frequencies: number[]; gain: number }

interface Parameters {
  theta: number;
  /** dh */
  dim: number;
  /** Positions that config.json allows, and those of pretraining. */
  context: number;
  trained: number;
  given: Record<string, unknown>;
  number(key: string, otherwise?: number): number;
}

/** By `rope_type`, as transformers' modeling_rope_utils has them; `positions`: how many the sequence takes. */
const SCALINGS: Record<string, (p: Parameters, positions: number) => Scaled> = {
  default: ({ theta, dim }) => ({ frequencies: plain(theta, dim), gain: 1 }),

  /** Positions divided by `factor` (Chen et al., 2023). */
  linear: ({ theta, dim, number }) => ({ frequencies: plain(theta, dim).map((f) => f / number('factor')), gain: 1 }),

  /** θ grows with the sequence once it is longer than the context (NTK-aware scaling). */
  dynamic({ theta, dim, context, number }, positions) {
    const factor = number('factor');
    const stretch = factor * Math.max(positions, context) / context - (factor - 1);
    return { frequencies: plain(theta * stretch ** (dim / (dim - 2)), dim), gain: 1 };
  },

  /** Low frequencies divided by `factor`, with a smooth passage (Llama 3.1). */
  llama3({ theta, dim, trained, number }) {
    const [factor, low, high] = ['factor', 'low_freq_factor', 'high_freq_factor'].map((k) => number(k));
    return {
      frequencies: plain(theta, dim).map((f) => between(f / factor, f, (trained * f / (2 * Math.PI) - low) / (high - low))),
      gain: 1,
    };
  },

  /** The same by the index of the pair, and attention sharpened (YaRN; Peng et al., 2024). */
  yarn({ theta, dim, context, trained, given, number }) {
    const factor = number('factor', context / trained);
    const sharper = (by: number): number => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1);
    const { mscale, mscale_all_dim: all } = given;
    const gain = number('attention_factor', mscale && all ? sharper(Number(mscale)) / sharper(Number(all)) : sharper(1));
    /** The pair that turns so often over the context of pretraining. */
    const pair = (turns: number): number => dim * Math.log(trained / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
    const [first, last] = [pair(Number(given.beta_fast || 32)), pair(Number(given.beta_slow || 1))];
    const whole = given.truncate !== false;
    const low = Math.max(0, whole ? Math.floor(first) : first);
    const high = Math.min(dim - 1, whole ? Math.ceil(last) : last);
    const width = high === low ? 0.001 : high - low;
    return { frequencies: plain(theta, dim).map((f, i) => between(f, f / factor, (i - low) / width)), gain };
  },
};

const plain = (theta: number, dim: number): number[] => Array.from({ length: dim / 2 }, (_, i) => theta ** (-2 * i / dim));

/** From a at 0 to b at 1, constant beyond. */
function between(a: number, b: number, at: number): number {
  const t = Math.min(1, Math.max(0, at));
  return a * (1 - t) + b * t;
}
