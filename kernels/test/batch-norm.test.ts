import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { batchNorm, batchNormTrain, tf, type Tensor1D, type Tensor4D } from '../src/index.js';
import { markFrozen } from '../src/fused.js';
import { agrees, BACKEND, random, skip, start, type Data } from './against.js';

before(start);

const SHAPES = [[2, 3, 3, 16], [5, 7, 6, 20], [1, 1, 2, 3], [9, 8, 8, 33]];
const EPSILON = 1e-5;

const positive = (d: Data): Data => ({ ...d, values: d.values.map((v) => Math.fround(0.1 + v * v)) });
const given = (...[x, mean, variance, gamma, beta]: tf.Tensor[]): tf.Tensor =>
  batchNorm(x as Tensor4D, mean as Tensor1D, variance as Tensor1D, gamma as Tensor1D, beta as Tensor1D, EPSILON);
const inputs = (x: number[]): Data[] => {
  const C = [x[3]];
  return [{ ...random(x, 'float32', 2), values: random(x, 'float32', 2).values.map((v, i) => Math.fround(v + (i % x[3]))) }, random(C), positive(random(C)), random(C, 'float32', 1.5), random(C, 'float32', 0.7)];
};

test('batchNorm and the gradients of all its inputs equal the reference', { skip }, () => {
  for (const shape of SHAPES) {
    agrees('batchNorm', given, inputs(shape), { tolerance: 1e-5 });
    agrees('its gradients', (...t) => tf.grads(given)(t, tf.tensor(random(shape).values, shape)), inputs(shape), { tolerance: 1e-4 });
  }
});

test('batchNormTrain: output, statistics, and gradients through all three', { skip }, () => {
  for (const shape of SHAPES) {
    const [x, , , gamma, beta] = inputs(shape);
    const train = (...[x, gamma, beta]: tf.Tensor[]): tf.Tensor[] => {
      const { y, mean, variance } = batchNormTrain(x as Tensor4D, gamma as Tensor1D, beta as Tensor1D, EPSILON);
      return [y, mean, variance];
    };
    const weights = [shape, [shape[3]], [shape[3]]].map((s) => random(s, 'float32', 3));
    const loss = (...t: tf.Tensor[]): tf.Scalar =>
      tf.addN(train(...t).map((out, i) => tf.sum(tf.mul(out, tf.tensor(weights[i].values, weights[i].shape))))) as tf.Scalar;
    agrees('batchNormTrain', train, [x, gamma, beta], { tolerance: 1e-5 });
    agrees('its gradients', (...t) => tf.grads(loss)(t), [x, gamma, beta], { tolerance: 2e-4 });
  }
});

test('the mean of values far from zero keeps its digits, and the variance does not cancel', { skip }, () => {
  const x = random([16, 8, 8, 17]);
  const far = { ...x, values: x.values.map((v) => Math.fround(1000 + v)) };
  agrees('statistics', (t, gamma, beta) => {
    const { mean, variance } = batchNormTrain(t as Tensor4D, gamma as Tensor1D, beta as Tensor1D, EPSILON);
    return [mean, variance];
  }, [far, random([17]), random([17])], { tolerance: 1e-4 });
});

test("TensorFlow.js's own batchNorm runs natively", { skip }, () => {
  const [x, mean, variance, gamma, beta] = inputs([2, 4, 5, 18]);
  agrees('tf.batchNorm', (...[x, mean, variance, beta, gamma]) =>
    tf.batchNorm(x as Tensor4D, mean as Tensor1D, variance as Tensor1D, beta as Tensor1D, gamma as Tensor1D, EPSILON), [x, mean, variance, beta, gamma], { tolerance: 1e-5 });
  agrees('without scale and offset', (...[x, mean, variance]) =>
    tf.batchNorm(x as Tensor4D, mean as Tensor1D, variance as Tensor1D), [x, mean, variance], { tolerance: 1e-5 });
});

test('a variable that starts from frozen memory still gets its gradient', { skip }, () => {
  tf.setBackend(BACKEND);
  const vector = (v: number): Tensor1D => markFrozen(tf.fill([3], v) as Tensor1D);
  const [mean, variance, beta] = [vector(0), vector(1), vector(0)];
  const gamma = tf.variable(vector(1)) as unknown as Tensor1D;
  const x = tf.ones([2, 1, 1, 3]) as Tensor4D;
  const gradient = tf.grad((g: tf.Tensor) => batchNorm(x, mean, variance, g as Tensor1D, beta, 0))(gamma);
  assert.deepEqual([...gradient.dataSync()], [2, 2, 2]);
});
