// Steps recorded as CUDA graphs give what steps give that are run: cuda.test.ts runs this on the emulator, test:gpu on a card.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { adamwStep, attention, crossEntropy, dropout, embedding, layerNorm, linear, openMapped, Repeated, residual, Rng, tf, useBackend, variableGradients, type Scalar, type Tensor, type Tensor1D, type Tensor2D, type Tensor4D, type Variable } from '../src/index.js';
import type { Recorder } from '../src/repeated.js';
import { BACKEND, NAME, random, skip as missing, start } from './against.js';

const skip = missing || (NAME === 'cuda' ? false : 'graft-cpu queues nothing');
before(start);

const [B, T, d, H, V] = [3, 5, 16, 2, 11];

/** Counts what is done with recordings. */
function watched(): Record<'record' | 'repeat' | 'forget', number> {
  const { recorder } = tf.backend() as unknown as { recorder: Recorder }, counts = { record: 0, repeat: 0, forget: 0 };
  for (const name of ['record', 'repeat', 'forget'] as const) {
    const own = Object.getPrototypeOf(recorder)[name] as never ?? recorder[name] as never;
    (recorder as unknown as Record<string, unknown>)[name] = (...args: never[]): unknown => { counts[name]++; return (own as (...a: never[]) => unknown)(...args); };
  }
  return counts;
}

/** A small model: its parameters, and the gradients of its loss for a batch of ids [B, T] and labels [B·T]. */
function model(rate = 0): { parameters: Variable[]; step: (inputs: Tensor[]) => Tensor[] } {
  const parameter = (shape: number[], scale: number): Variable => tf.tidy(() => tf.variable(tf.tensor(random(shape, 'float32', scale).values, shape)));
  const parameters = [[V, d], [3 * d, d], [d], [d], [V, d]].map((shape) => parameter(shape, 0.4)), [table, qkv, gamma, beta, head] = parameters;
  let seed = 0;
  const loss = (ids: Tensor, labels: Tensor1D, mask: Tensor2D): Scalar => tf.tidy(() => {
    const x = embedding(tf.tensor2d(random([V, d]).values, [V, d]), ids);
    const h = layerNorm(tf.add(x, tf.mul(tf.slice(table, [0, 0], [1, d]), 0.5)), gamma as unknown as Tensor1D, beta as unknown as Tensor1D, 1e-5);
    const [q, k, v] = tf.split(linear(h, qkv as unknown as Tensor2D), 3, -1).map((t) => tf.reshape(t, [B, T, H, d / H]) as Tensor4D);
    const attended = tf.reshape(attention(q, k, v, { keyMask: mask, causal: true }), [B, T, d]);
    const y = residual(h, dropout(attended, rate, 'seed', seed++));
    return tf.mean(crossEntropy(tf.reshape(linear(y, head as unknown as Tensor2D), [B * T, V]) as Tensor2D, labels));
  });
  const step = ([ids, labels, mask]: Tensor[]): Tensor[] => {
    const { value, grads } = variableGradients(() => loss(ids, labels as Tensor1D, mask as Tensor2D), parameters);
    return [value, ...parameters.map((p) => grads.get(p)!)];
  };
  return { parameters, step };
}

const batch = (n: number): Tensor[] => {
  const rng = new Rng('batch', n), ints = (count: number): Int32Array => Int32Array.from({ length: count }, () => rng.integer(V));
  return [tf.tensor2d(ints(B * T), [B, T], 'int32'), tf.tensor1d(ints(B * T), 'int32'), tf.tensor2d(Float32Array.from({ length: B * T }, (_, i) => Number(i % T < 5 - n % 3)), [B, T])];
};

/** Losses and parameters of a training run; what happens between steps is the caller's. */
function trained(repeated: boolean, { rate = 0, steps = 6, between }: { rate?: number; steps?: number; between?: (n: number, parameters: Variable[]) => void } = {}): number[][] {
  const { parameters, step } = model(rate), call = new Repeated(), moments = parameters.map((p) => [0, 1].map(() => tf.tidy(() => tf.variable(tf.zerosLike(p)))));
  const losses: number[] = [];
  for (let n = 0; n < steps; n++) {
    between?.(n, parameters);
    const inputs = batch(n), [value, ...grads] = repeated ? call.run('step', inputs, step) : step(inputs);
    losses.push(value.dataSync()[0]);
    parameters.forEach((p, i) => adamwStep(p, grads[i], moments[i][0], moments[i][1], { lr: 0.05, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0, step: n + 1 }));
    tf.dispose([value, ...grads, ...inputs]);
  }
  const values = parameters.map((p) => [...p.dataSync()]);
  call.dispose();
  tf.dispose([...parameters, ...moments.flat()]);
  return [losses, ...values];
}

test('a repeated step equals a step that is run, byte for byte, whatever the batch holds', { skip }, () => {
  tf.setBackend(BACKEND);
  const counts = watched(), tensors = tf.memory().numTensors, bytes = (): number => (tf.backend().memory() as unknown as { live: number }).live, eager = trained(false), live = bytes();
  assert.deepEqual(trained(true), eager);
  assert.deepEqual(counts, { record: 1, repeat: 5, forget: 1 });
  assert.ok(eager[0].every((loss, i) => i === 0 || loss !== eager[0][i - 1]));
  assert.deepEqual([tf.memory().numTensors, bytes()], [tensors, live], 'nothing is left');
});

test('a step whose numbers on the host change is run as it is', { skip }, () => {
  tf.setBackend(BACKEND);
  const counts = watched(), eager = trained(false, { rate: 0.3 });
  const { repeat } = counts;
  assert.deepEqual(trained(true, { rate: 0.3 })[0].length, eager[0].length);
  assert.deepEqual([counts.record, counts.repeat], [1, repeat]);
});

test('a step that reads values back is run as it is', { skip }, () => {
  tf.setBackend(BACKEND);
  const counts = watched();
  let calls = 0;
  const call = new Repeated(), reads = ([x]: Tensor[]): Tensor[] => {
    calls++;
    const y = tf.tidy(() => tf.mul(x, tf.tidy(() => tf.sum(x).dataSync()[0])));
    return [y];
  };
  for (let n = 1; n < 5; n++) {
    const x = tf.tensor([n, 2]), [y] = call.run('reads', [x], reads);
    assert.deepEqual([...y.dataSync()], [n * (n + 2), 2 * (n + 2)]);
    tf.dispose([x, y]);
  }
  assert.deepEqual({ ...counts, calls }, { record: 1, repeat: 0, forget: 1, calls: 5 });
  call.dispose();
});

test('a parameter in another place is noticed', { skip }, () => {
  tf.setBackend(BACKEND);
  const counts = watched(), moved = (n: number, parameters: Variable[]): void => { if (n === 3) tf.tidy(() => parameters[1].assign(tf.mul(parameters[1], 0.5))); };
  const eager = trained(false, { between: moved, steps: 8 });
  assert.deepEqual(trained(true, { between: moved, steps: 8 }), eager);
  assert.deepEqual([counts.record, counts.forget], [2, 2]);
});

test('what a weight needs when it is first used is no part of a step', { skip }, async () => {
  for (const precision of ['f32', 'bf16', 'nf4'] as const) {
    await useBackend(NAME, { precision });
    const folder = mkdtempSync(join(tmpdir(), 'graft-')), counts = watched(), call = new Repeated();
    writeFileSync(join(folder, 'w'), Float32Array.from(random([70, d]).values));
    const file = openMapped(join(folder, 'w')), W = file.tensor(0, [70, d], 'F32') as Tensor2D;
    for (let n = 0; n < 3; n++) {
      const x = tf.tensor2d(random([4, d], 'float32', 1 + n).values, [4, d]), [y] = call.run('', [x], ([given]) => [linear(given, W)]), expected = linear(x, W);
      assert.deepEqual(y.dataSync(), expected.dataSync());
      tf.dispose([x, y, expected]);
    }
    assert.deepEqual([counts.record, counts.repeat], [1, 2], precision);
    call.dispose();
    W.dispose();
    file.close();
    rmSync(folder, { recursive: true });
  }
  await useBackend(NAME, { precision: 'f32' });
});

test('only so many recordings are kept', { skip }, () => {
  tf.setBackend(BACKEND);
  const counts = watched(), call = new Repeated(2);
  for (let round = 0; round < 3; round++) for (const n of [1, 2, 3]) for (let i = 0; i < 2; i++) {
    const x = tf.fill([n], round + i), [y] = call.run('', [x], ([given]) => [tf.mul(given, 3)]);
    assert.deepEqual([...y.dataSync()], new Array<number>(n).fill(3 * (round + i)));
    tf.dispose([x, y]);
  }
  assert.deepEqual([counts.record, counts.forget], [9, 7]);
  call.dispose();
});
