import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { tf } from '../src/index.js';
import { agrees, BACKEND, data, random, skip, start, type Data } from './against.js';

before(start);

type Op = (x: tf.Tensor) => tf.Tensor;
const UNARY: Record<string, Op> = {
  abs: tf.abs, neg: tf.neg, exp: tf.exp, expm1: tf.expm1, log: tf.log, log1p: tf.log1p, sqrt: tf.sqrt, rsqrt: tf.rsqrt, square: tf.square,
  reciprocal: tf.reciprocal, sigmoid: tf.sigmoid, tanh: tf.tanh, erf: tf.erf, softplus: tf.softplus, relu: tf.relu, relu6: tf.relu6, elu: tf.elu,
  selu: tf.selu, leakyRelu: (x) => tf.leakyRelu(x, 0.1), step: (x) => tf.step(x, 0.3), sign: tf.sign, floor: tf.floor, ceil: tf.ceil, round: tf.round,
  clip: (x) => tf.clipByValue(x, -1, 2), sin: tf.sin, cos: tf.cos, tan: tf.tan, asin: tf.asin, acos: tf.acos, atan: tf.atan, sinh: tf.sinh, cosh: tf.cosh,
  asinh: tf.asinh, acosh: tf.acosh, atanh: tf.atanh, isNaN: tf.isNaN, isInf: tf.isInf, isFinite: tf.isFinite,
};
const ODD = [0, -0, 0.5, 1.5, 2.5, -0.5, -1.5, 1, -1, 1e-7, -1e-7, 1e-30, 3e-39, 88, 89, -87, -100, 1e10, -1e10, Infinity, -Infinity, NaN];

test('unary operations over odd values, sizes around vector widths and empty tensors', { skip }, () => {
  for (const [name, op] of Object.entries(UNARY)) {
    // The JavaScript backend's erf is itself a 1.5e-7 approximation, and its asinh, cosh and the like lose digits.
    for (const shape of [[0], [1], [3], [16], [17], [33], [5, 0, 2], [7, 41], []]) agrees(name, op, [random(shape, 'float32', 2)], { tolerance: 2e-6 });
    if (!['sin', 'cos', 'tan'].includes(name)) agrees(name, op, [data(ODD)], { tolerance: 2e-6 });
  }
});

test('unary operations over integers truncate as TensorFlow.js has it', { skip }, () => {
  for (const name of ['abs', 'neg', 'exp', 'square', 'relu', 'relu6', 'sign', 'clip', 'step', 'leakyRelu', 'round']) {
    agrees(name, UNARY[name], [random([23], 'int32')]);
  }
  agrees('logicalNot', (x) => tf.logicalNot(x as tf.Tensor), [random([23], 'bool')]);
});

test('the approximations are accurate to 3e-7 of the double-precision functions', { skip }, () => {
  assert.equal(tf.getBackend(), BACKEND);
  const exact: [Op, (x: number) => number, number, number][] = [
    [tf.exp, Math.exp, -80, 80], [tf.log, Math.log, 1e-3, 50], [tf.tanh, Math.tanh, -9, 9], [tf.sigmoid, (x) => 1 / (1 + Math.exp(-x)), -30, 30],
    [tf.expm1, Math.expm1, -3, 3], [tf.log1p, Math.log1p, -0.9, 4], [tf.softplus, (x) => Math.log1p(Math.exp(x)), -20, 20],
  ];
  for (const [op, f, low, high] of exact) {
    const xs = Float32Array.from({ length: 5001 }, (_, i) => low + (high - low) * i / 5000);
    const ys = op(tf.tensor1d(xs)).dataSync();
    xs.forEach((x, i) => assert.ok(Math.abs(ys[i] - f(x)) <= 3e-7 * Math.abs(f(x)), `${f.name || op.name}(${x}) = ${ys[i]}`));
  }
});

type Op2 = (a: tf.Tensor, b: tf.Tensor) => tf.Tensor;
const BINARY: Record<string, Op2> = {
  add: tf.add, sub: tf.sub, mul: tf.mul, div: tf.div, maximum: tf.maximum, minimum: tf.minimum, squaredDifference: tf.squaredDifference,
  pow: (a, b) => tf.pow(a, b), mod: tf.mod, floorDiv: tf.floorDiv, atan2: tf.atan2, prelu: (a, b) => tf.prelu(a, b),
  equal: tf.equal, notEqual: tf.notEqual, less: tf.less, lessEqual: tf.lessEqual, greater: tf.greater, greaterEqual: tf.greaterEqual,
};
const SHAPES: [number[], number[]][] = [
  [[7], [7]], [[], [5]], [[5], []], [[], []], [[4, 17], [17]], [[17], [4, 17]], [[4, 17], [4, 1]], [[4, 1], [1, 17]], [[2, 3, 4, 5], [4, 1]],
  [[2, 3, 4, 5], [2, 1, 4, 1]], [[2, 1, 4, 1], [3, 1, 5]], [[3, 1], [0]], [[0, 4], [4]], [[2, 33], [1]], [[1, 1, 3], [2, 1, 1]],
];

test('binary operations over every kind of broadcasting', { skip }, () => {
  for (const [name, op] of Object.entries(BINARY)) for (const [a, b] of SHAPES) agrees(name, op, [random(a), random(b, 'float32', 2)], { tolerance: 1e-5 });
});

test('binary operations over integers, bools and mixtures', { skip }, () => {
  const numbers = ['add', 'sub', 'mul', 'maximum', 'minimum', 'squaredDifference', 'floorDiv', 'mod', 'equal', 'notEqual', 'less', 'lessEqual', 'greater', 'greaterEqual'];
  for (const [a, b] of [[[19], [19]], [[2, 9], [9]], [[3, 1], [1, 4]]]) {
    for (const name of numbers) {
      agrees(name, BINARY[name], [random(a, 'int32'), { ...random(b, 'int32', 3), values: random(b, 'int32', 3).values.map((v) => v || 7) }]);
      if (!['floorDiv', 'mod'].includes(name)) agrees(name, BINARY[name], [random(a, 'float32'), random(b, 'int32')], { tolerance: 1e-5 });
    }
    for (const op of [tf.logicalAnd, tf.logicalOr, tf.logicalXor] as Op2[]) agrees(op.name, op, [random(a, 'bool'), random(b, 'bool', 2)]);
    agrees('equal', tf.equal, [random(a, 'bool'), random(b, 'bool', 2)]);
  }
  agrees('add wraps', tf.add, [data([2147483647, -5], [2], 'int32'), data([1, 2], [2], 'int32')]);
});

test('NaN and infinities in binary operations', { skip }, () => {
  const pairs = ODD.flatMap((a) => ODD.map((b) => [a, b]));
  const [a, b] = [0, 1].map((k) => data(pairs.map((p) => p[k])));
  for (const [name, op] of Object.entries(BINARY)) if (name !== 'mod') agrees(name, op, [a, b], { tolerance: 1e-5 });
});

test('select, addN, cast, fill and large tensors split between threads', { skip }, () => {
  const where = (c: tf.Tensor, t: tf.Tensor, e: tf.Tensor): tf.Tensor => tf.where(c, t, e);
  agrees('where', where, [random([4, 5], 'bool'), random([4, 5]), random([4, 5], 'float32', 2)]);
  agrees('where', where, [random([4, 1], 'bool'), random([4, 5]), random([5], 'float32', 2)]);
  agrees('where', where, [random([6], 'bool'), random([6], 'int32'), random([6], 'float32', 2)]);
  agrees('addN', (...t) => tf.addN(t), [random([3, 5]), random([3, 5], 'float32', 2), random([3, 5], 'float32', 3)]);
  agrees('addN', (...t) => tf.addN(t), [random([3, 5], 'int32'), random([3, 5], 'int32')]);
  const types: Data['dtype'][] = ['float32', 'int32', 'bool'];
  for (const from of types) for (const to of types) agrees(`cast to ${to}`, (x) => tf.cast(x, to), [random([300], from, 3)]);
  agrees('cast', (x) => tf.cast(x, 'int32'), [data([3e9, -3e9, NaN, Infinity, 1.9, -1.9])]);
  for (const dtype of types) agrees('fill', () => tf.fill([3, 100], 1, dtype), []);
  agrees('zeros and ones', (x) => [tf.zerosLike(x), tf.onesLike(x)], [random([40], 'int32')]);
  for (const [a, b] of [[[70000], [70000]], [[300, 200], [200]], [[2, 40000], [2, 1]], [[40000, 3], [3]]]) {
    agrees('add', tf.add, [random(a), random(b, 'float32', 2)]);
    agrees('exp', tf.exp, [random(a)]);
  }
});

test('strings and complex numbers still work', { skip }, () => {
  tf.setBackend(BACKEND);
  assert.deepEqual([...tf.equal(tf.tensor(['a', 'b']), tf.tensor(['a', 'c'])).dataSync()], [1, 0]);
  assert.deepEqual([...tf.add(tf.complex([1], [2]), tf.complex([3], [4])).dataSync()], [4, 6]);
  assert.deepEqual(tf.fill([2], 'x').dataSync(), ['x', 'x']);
});
