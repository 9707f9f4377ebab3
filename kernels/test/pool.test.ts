import { before, test } from 'node:test';
import { maxPool, tf, type Tensor4D } from '../src/index.js';
import { agrees, BACKEND, gradientHolds, random, skip, start } from './against.js';

before(start);

const CASES: { x: [number, number, number, number]; size: number | [number, number]; stride: number | [number, number]; pad: 'valid' | 'same' | number }[] = [
  { x: [2, 8, 8, 16], size: 2, stride: 2, pad: 'valid' },
  { x: [3, 9, 7, 5], size: 3, stride: 2, pad: 1 },
  { x: [1, 5, 6, 33], size: [2, 3], stride: [1, 2], pad: 'same' },
  { x: [2, 6, 6, 3], size: 1, stride: 2, pad: 'valid' },
  { x: [2, 7, 7, 20], size: 7, stride: 7, pad: 'valid' },
];

test('maximum and average pooling and their gradients equal those of TensorFlow.js', { skip }, () => {
  for (const { x, size, stride, pad } of CASES)
    for (const [name, pool] of [['max', tf.maxPool], ['average', tf.avgPool]] as const) {
      const f = (t: tf.Tensor): tf.Tensor => pool(t as Tensor4D, size, stride, pad);
      agrees(`${name} ${x} ${size} ${stride} ${pad}`, f, [random(x)]);
      if (name === 'average' && pad !== 'valid') continue;
      agrees(`gradient of ${name} ${x} ${size} ${stride} ${pad}`, (t) => tf.grad(f)(t, tf.reshape(tf.range(1, f(t).size + 1), f(t).shape)), [random(x)]);
    }
});

test('padding does not count: the gradient of average pooling at a border equals differences', { skip }, () => {
  // TensorFlow.js's JavaScript kernel divides by the whole window there, unlike its forward pass.
  tf.setBackend(BACKEND);
  for (const { x, size, stride, pad } of CASES) gradientHolds(`average ${x} ${pad}`, (t) => tf.avgPool(t as Tensor4D, size, stride, pad), [random(x)]);
});

test('equal values: the gradient goes to the first maximum of a window', { skip }, () => {
  const f = (t: tf.Tensor): tf.Tensor => tf.maxPool(t as Tensor4D, 3, 1, 1);
  agrees('ties', (t) => tf.grad(f)(tf.onesLike(t)), [random([1, 4, 4, 2])]);
});

test('the mean over all pixels and its gradient', { skip }, () => {
  const f = (t: tf.Tensor): tf.Tensor => tf.mean(t, [1, 2]);
  agrees('mean', (t) => [f(t), tf.grad(f)(t)], [random([3, 8, 8, 17])]);
});

test('integers, windows of one pixel and explicit padding give what TensorFlow.js gives', { skip }, () => {
  agrees('maximum of integers', (t) => tf.maxPool(t as Tensor4D, 2, 1, 'same'), [random([1, 4, 5, 3], 'int32')], { fallback: ['MaxPool'] });
  for (const [name, pool] of [['maximum', tf.maxPool], ['average', tf.avgPool]] as const) {
    agrees(`${name} of single pixels`, (t) => pool(t as Tensor4D, 1, 2, 1), [random([1, 2, 2, 3])]);
    const f = (t: tf.Tensor): tf.Tensor => pool(t as Tensor4D, 3, 1, [[0, 0], [1, 2], [0, 1], [0, 0]]);
    agrees(`${name}, explicit padding`, (t) => [f(t), tf.grad(f)(t, tf.onesLike(f(t)))], [random([2, 5, 4, 3])], { fallback: ['AvgPoolGrad'] });
  }
});

test('maximum pooling by its reference, which pads first, and its gradient', { skip }, () => {
  const f = (t: tf.Tensor): tf.Tensor => maxPool(t as Tensor4D, 3, 2, 1);
  for (const x of [[3, 9, 7, 5], [1, 4, 4, 33]]) {
    agrees(`max ${x}`, f, [random(x)]);
    agrees(`gradient of max ${x}`, (t) => tf.grad(f)(t, tf.reshape(tf.range(1, f(t).size + 1), f(t).shape)), [random(x)]);
  }
});
