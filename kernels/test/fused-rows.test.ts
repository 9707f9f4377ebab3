import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { activate, crossEntropy, embedding, layerNorm, logSoftmax, rmsNorm, rotary, softmax, tf, type Activation } from '../src/index.js';
import { agrees, BACKEND, data, gradientHolds, random, skip, start } from './against.js';

before(start);

const ACTIVATIONS: Activation[] = ['relu', 'gelu', 'gelu_new', 'silu', 'tanh', 'sigmoid'];

/** The op and its gradient agree with the reference that the JavaScript backend runs. */
function same(what: string, f: (...t: tf.Tensor[]) => tf.Tensor, inputs: Parameters<typeof agrees>[2], tolerance = 2e-6): void {
  agrees(what, f, inputs, { tolerance });
  inputs.forEach((input, k) => {
    if (input.dtype !== 'float32') return;
    const gradient = (...t: tf.Tensor[]): tf.Tensor => tf.grad((x: tf.Tensor) => {
      const y = f(...t.map((u, i) => (i === k ? x : u)));
      return tf.sum(tf.mul(y, tf.tensor(random(y.shape).values, y.shape)));
    })(t[k]);
    agrees(`gradient ${k} of ${what}`, gradient, inputs, { tolerance: 10 * tolerance });
  });
}

test('activations', { skip }, () => {
  for (const kind of ACTIVATIONS) {
    for (const shape of [[0], [1], [17], [3, 70]]) same(kind, (x) => activate(x, kind), [random(shape, 'float32', 2)]);
    if (kind !== 'relu') gradientHolds(kind, (x) => activate(x, kind), [random([5, 9], 'float32', 2)]);
  }
  tf.setBackend(BACKEND);
  const [low, high] = activate(tf.tensor1d([-100, 100]), 'gelu').dataSync();
  assert.deepEqual([Math.abs(low), high], [0, 100]);
});

test('softmax and log-softmax', { skip }, () => {
  for (const shape of [[1], [5], [3, 1], [4, 17], [2, 3, 33], [3, 2100]]) for (const f of [softmax, logSoftmax, tf.softmax as typeof softmax]) same(f.name, (x) => f(x), [random(shape, 'float32', 3)], 4e-6);
  agrees('large logits', (x) => softmax(x), [data([1e4, -1e4, 0, 88, 89, 90], [2, 3])]);
  agrees('masked', (x) => softmax(x), [data([-Infinity, 0, 1, -Infinity], [1, 4])]);
  gradientHolds('softmax', softmax, [random([3, 19], 'float32', 2)]);
  gradientHolds('logSoftmax', logSoftmax, [random([3, 19], 'float32', 2)]);
});

test('layer norm and RMS norm', { skip }, () => {
  for (const shape of [[1, 3], [5, 17], [2, 3, 64], [130, 40], [0, 4], [7]]) {
    const d = shape[shape.length - 1];
    const [x, gamma, beta] = [random(shape, 'float32', 2), random([d], 'float32', 1.5), random([d])];
    if (d > 3) same('layerNorm', (a, g, b) => layerNorm(a, g as tf.Tensor1D, b as tf.Tensor1D, 1e-5), [x, gamma, beta], 1e-5);
    same('rmsNorm', (a, g) => rmsNorm(a, g as tf.Tensor1D, 1e-6), [x, gamma], 1e-5);
  }
  gradientHolds('layerNorm', (a, g, b) => layerNorm(a, g as tf.Tensor1D, b as tf.Tensor1D, 1e-5), [random([6, 24]), random([24], 'float32', 2), random([24])]);
  gradientHolds('rmsNorm', (a, g) => rmsNorm(a, g as tf.Tensor1D, 1e-5), [random([6, 24]), random([24], 'float32', 2)]);
  const shifted = random([4, 256]);
  shifted.values = shifted.values.map((v) => Math.fround(v + 1000)); // the variance must not drown in the mean
  agrees('layerNorm far from zero', (a, g, b) => layerNorm(a, g as tf.Tensor1D, b as tf.Tensor1D, 1e-5), [shifted, random([256]), random([256])], { tolerance: 1e-3 });
});

test('embedding adds gradients up where ids repeat', { skip }, () => {
  const ids = data([1, 3, 1, 0, 1, 3], [2, 3], 'int32');
  for (const d of [1, 5, 130]) same('embedding', (t, i) => embedding(t as tf.Tensor2D, i), [random([5, d]), ids]);
});

test('rotary', { skip }, () => {
  const [x, cos, sin] = [random([2, 5, 3, 8]), random([5, 8]), random([5, 8], 'float32', 2)];
  const f = (t: tf.Tensor): tf.Tensor => rotary(t as tf.Tensor4D, tf.tensor2d(cos.values, [5, 8]), tf.tensor2d(sin.values, [5, 8]));
  same('rotary', f, [x]);
  gradientHolds('rotary', f, [x]);
});

test('cross-entropy with ignored rows and smoothing', { skip }, () => {
  for (const [rows, classes] of [[1, 2], [7, 3], [5, 33], [3, 3000], [0, 4]]) for (const labelSmoothing of [0, 0.1]) {
    const labels = data(Array.from({ length: rows }, (_, i) => (i % 3 === 2 ? -100 : (i * 7) % classes)), [rows], 'int32');
    same('crossEntropy', (x, y) => crossEntropy(x as tf.Tensor2D, y as tf.Tensor1D, { labelSmoothing }), [random([rows, classes], 'float32', 3), labels], 4e-6);
  }
  const labels = data([2, 0, 4], [3], 'int32');
  gradientHolds('crossEntropy', (x, y) => crossEntropy(x as tf.Tensor2D, y as tf.Tensor1D, { labelSmoothing: 0.2, ignoreIndex: 0 }), [random([3, 5]), labels]);
  tf.setBackend(BACKEND);
  assert.throws(() => crossEntropy(tf.zeros([1, 2]), tf.tensor1d([2], 'int32')), /label 2 of row 0 is not in \[0, 2\)/);
});

test('nothing is kept but what the gradient needs, and nothing is left behind', { skip }, () => {
  tf.setBackend(BACKEND);
  const [x, gamma, beta] = [[8, 16], [16], [16]].map((shape) => tf.tensor(random(shape).values, shape));
  const before = tf.memory().numTensors;
  tf.tidy(() => tf.grad((t: tf.Tensor) => tf.sum(softmax(activate(layerNorm(t, gamma as tf.Tensor1D, beta as tf.Tensor1D, 1e-5), 'gelu'))))(x).dataSync());
  assert.equal(tf.memory().numTensors, before);
  const y = layerNorm(x, gamma as tf.Tensor1D, beta as tf.Tensor1D, 1e-5);
  assert.equal(tf.memory().numTensors, before + 1);
  y.dispose();
});
