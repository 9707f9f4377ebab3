import assert from 'node:assert/strict';
import { Rng, tf, useBackend } from '../src/index.js';
import { fallbackCounts, resetFallbackCounts } from '../src/fallback.js';
import { native } from '../src/native.js';

/** The backend these tests are about: graft-cpu, or what GRAFT_TEST_BACKEND says (cuda.test.ts runs them again so). */
export const NAME = (process.env.GRAFT_TEST_BACKEND ?? 'cpu') as 'cpu' | 'cuda';
export const BACKEND = `graft-${NAME}`;

/** Why they cannot run, or false. */
export const skip = native() ? false : 'the native backend was not built';

export const start = async (): Promise<void> => { if (!skip) await useBackend(NAME, { threads: 2 }); };

/** Plain data from which each backend makes its own tensor. */
export interface Data { values: number[]; shape: number[]; dtype: 'float32' | 'int32' | 'bool' }

export const sizeOf = (shape: number[]): number => shape.reduce((a, b) => a * b, 1);

/** Normal numbers; small integers; or coin flips. */
export function random(shape: number[], dtype: Data['dtype'] = 'float32', scale = 1): Data {
  const rng = new Rng('against', shape.join(), dtype, scale);
  const next = { float32: () => Math.fround(scale * rng.normal()), int32: () => rng.integer(19) - 9, bool: () => rng.integer(2) }[dtype];
  return { values: Array.from({ length: sizeOf(shape) }, next), shape, dtype };
}

export const data = (values: number[], shape = [values.length], dtype: Data['dtype'] = 'float32'): Data => ({ values, shape, dtype });

interface Options {
  /** Of |difference| / (1 + |expected|). */
  tolerance?: number;
  /** Kernels that may fall back to JavaScript. */
  fallback?: string[];
}

/** `f` gives on our backend what it gives on TensorFlow.js's JavaScript backend: shapes, dtypes and values, without falling back to it. */
export function agrees(what: string, f: (...t: tf.Tensor[]) => tf.Tensor | tf.Tensor[], inputs: Data[], { tolerance = 1e-6, fallback = [] }: Options = {}): void {
  const results = ['cpu', BACKEND].map((backend) => {
    tf.setBackend(backend);
    resetFallbackCounts();
    return tf.tidy(() => {
      const out = f(...inputs.map(({ values, shape, dtype }) => tf.tensor(values, shape, dtype)));
      return (Array.isArray(out) ? out : [out]).map((t) => ({ shape: t.shape, dtype: t.dtype, values: [...t.dataSync()] }));
    });
  });
  assert.deepEqual(Object.keys(fallbackCounts()).filter((name) => !fallback.includes(name)), [], `${what} fell back`);
  const [expected, actual] = results;
  assert.equal(actual.length, expected.length, what);
  actual.forEach((a, k) => {
    assert.deepEqual([a.shape, a.dtype], [expected[k].shape, expected[k].dtype], what);
    a.values.forEach((v, i) => {
      const e = expected[k].values[i];
      const near = Object.is(v, e) || v === e || Math.abs(v - e) <= tolerance * (1 + Math.abs(e));
      assert.ok(near, `${what} (${inputs.map((d) => `${d.dtype}[${d.shape}]`).join(', ')}): element ${i} is ${v}, not ${e}`);
    });
  });
}

/** d f / d inputs[i] agrees with central differences of `f` along a random direction, for every float32 input. f's result is summed with fixed random weights. */
export function gradientHolds(what: string, f: (...t: tf.Tensor[]) => tf.Tensor, inputs: Data[], tolerance = 2e-2): void {
  const given = inputs.map(({ values, shape, dtype }) => tf.tensor(values, shape, dtype));
  const y = f(...given);
  const weights = tf.tensor(random(y.shape).values, y.shape);
  const loss = (...t: tf.Tensor[]): tf.Scalar => tf.sum(tf.mul(f(...t), weights)) as tf.Scalar;
  inputs.forEach((input, k) => {
    if (input.dtype !== 'float32' || sizeOf(input.shape) === 0) return;
    const at = (x: tf.Tensor): tf.Tensor[] => given.map((t, i) => (i === k ? x : t));
    const gradient = tf.tidy(() => tf.grad((x: tf.Tensor) => loss(...at(x)))(given[k]));
    assert.deepEqual(gradient.shape, input.shape, `${what}: shape of gradient ${k}`);
    const direction = random(input.shape, 'float32', 0.5).values;
    const step = 1e-2;
    const moved = (h: number): number => tf.tidy(() => loss(...at(tf.tensor(input.values.map((v, i) => v + h * direction[i]), input.shape))).dataSync()[0]);
    const expected = (moved(step) - moved(-step)) / (2 * step);
    const actual = [...gradient.dataSync()].reduce((sum, g, i) => sum + g * direction[i], 0);
    assert.ok(Math.abs(actual - expected) <= tolerance * (1 + Math.abs(expected)), `${what}: gradient ${k} is ${actual} along a line, not ${expected}`);
  });
}
