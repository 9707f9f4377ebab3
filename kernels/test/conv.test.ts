import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { conv2d, openMapped, tf, type ConvOptions, type Tensor1D, type Tensor4D } from '../src/index.js';
import { agrees, BACKEND, gradientHolds, NAME, random, skip, start } from './against.js';

before(start);

interface Case extends ConvOptions { x: number[]; w: number[]; bias?: boolean }

/** Images as CIFAR and ImageNet networks see them, small; and odd ones. */
const CASES: Case[] = [
  { x: [2, 8, 8, 16], w: [16, 16, 3, 3], padding: 1 },
  { x: [5, 32, 32, 3], w: [16, 3, 3, 3], padding: 1, bias: true },
  { x: [2, 9, 7, 16], w: [32, 16, 3, 3], padding: 1, stride: 2 },
  { x: [3, 8, 8, 33], w: [65, 33, 1, 1] },
  { x: [1, 7, 7, 40], w: [24, 40, 1, 1], bias: true },
  { x: [2, 8, 8, 16], w: [32, 16, 1, 1], stride: 2 },
  { x: [1, 32, 32, 3], w: [20, 3, 16, 16], stride: 16, bias: true },
  { x: [1, 23, 19, 3], w: [8, 3, 7, 7], stride: 2, padding: 3 },
  { x: [2, 5, 6, 2], w: [3, 2, 2, 3], padding: 2, stride: 3 },
  { x: [2, 6, 7, 8], w: [12, 4, 3, 3], padding: 1, groups: 2, bias: true },
  { x: [2, 7, 6, 12], w: [12, 1, 3, 3], padding: 1, stride: 2, groups: 12, bias: true },
  { x: [1, 6, 6, 3], w: [6, 1, 3, 3], groups: 3 },
  { x: [1, 1, 1, 4], w: [5, 4, 1, 1] },
  { x: [17, 4, 4, 5], w: [7, 5, 3, 3], padding: 1 },
  { x: [2, 7, 5, 1], w: [1, 1, 3, 2], padding: 1, bias: true },
  { x: [1, 5, 5, 1], w: [3, 1, 3, 3], stride: 2 },
];
const DILATED: Case[] = [
  { x: [1, 9, 9, 4], w: [5, 4, 3, 3], padding: 2, dilation: 2, bias: true },
  { x: [2, 11, 8, 6], w: [6, 1, 3, 3], padding: 2, dilation: 2, groups: 6 },
  { x: [1, 9, 8, 1], w: [1, 1, 3, 3], padding: 2, dilation: 2 },
];

const inputs = ({ x, w, bias }: Case): ReturnType<typeof random>[] => [random(x), random(w, 'float32', 0.3), ...(bias ? [random([w[0]])] : [])];
const run = (c: Case) => (x: tf.Tensor, w: tf.Tensor, b?: tf.Tensor): Tensor4D => {
  const { stride, padding, dilation, groups } = c;
  return conv2d(x as Tensor4D, w as Tensor4D, (b ?? null) as Tensor1D | null, Object.fromEntries(Object.entries({ stride, padding, dilation, groups }).filter(([, v]) => v !== undefined)));
};

test('conv2d equals its reference', { skip }, () => {
  for (const c of [...CASES, ...DILATED]) agrees(JSON.stringify(c), run(c) as (...t: tf.Tensor[]) => tf.Tensor, inputs(c), { tolerance: 1e-5 });
});

test('its gradients equal those of the reference', { skip }, () => {
  for (const c of CASES) {
    const gradients = (...t: tf.Tensor[]): tf.Tensor[] => {
      const y = run(c)(...(t as [tf.Tensor, tf.Tensor]));
      return tf.grads(run(c) as (...t: tf.Tensor[]) => tf.Tensor)(t, tf.tensor(random(y.shape).values, y.shape));
    };
    agrees(`gradients of ${JSON.stringify(c)}`, gradients, inputs(c), { tolerance: 1e-4 });
  }
});

/** Enough 3 × 3 tiles that they are transformed (winograd.h): whole and cut tiles, every border, several panels of channels, channels that fill no vector. */
const TILED: Case[] = [
  { x: [16, 16, 16, 16], w: [16, 16, 3, 3], padding: 1 },
  { x: [17, 15, 18, 20], w: [37, 20, 3, 3], padding: 1, bias: true },
  { x: [33, 14, 11, 13], w: [12, 13, 3, 3] },
  { x: [40, 7, 7, 48], w: [70, 48, 3, 3], padding: 2, bias: true },
  { x: [70, 6, 5, 12], w: [16, 12, 3, 3], padding: 3 },
];

test('transformed tiles equal the reference, and so does the gradient to the input', { skip }, () => {
  for (const c of TILED) {
    const both = (x: tf.Tensor, w: tf.Tensor, b?: tf.Tensor): tf.Tensor[] => {
      const f = (x: tf.Tensor): Tensor4D => run(c)(x, w, b), y = f(x);
      return [y, tf.grad(f)(x, tf.tensor(random(y.shape).values, y.shape))];
    };
    agrees(JSON.stringify(c), both as (...t: tf.Tensor[]) => tf.Tensor[], inputs(c), { tolerance: 5e-5 });
  }
});

test('a frozen filter is transformed once, for few tiles already, and gives the same', { skip: skip || (NAME === 'cuda' && 'kept for graft-cpu') }, () => {
  tf.setBackend(BACKEND);
  const folder = mkdtempSync(join(tmpdir(), 'graft-conv-')), path = join(folder, 'w');
  try {
    for (const { x, w, padding = 0 } of TILED.filter((c) => !c.bias)) {
      const filter = random(w, 'float32', 0.3), images = tf.tensor4d(random([4, ...x.slice(1)]).values, [4, x[1], x[2], x[3]]);
      writeFileSync(path, Float32Array.from(filter.values));
      const file = openMapped(path), frozen = file.tensor(0, w, 'F32') as Tensor4D;
      const [kept, plain] = [frozen, tf.tensor4d(filter.values, frozen.shape)].map((f) => {
        const conv = (x: tf.Tensor): Tensor4D => conv2d(x as Tensor4D, f, null, { padding }), y = conv(images);
        const results = [y, tf.grad(conv)(images, tf.onesLike(y))].map((t) => [...t.dataSync()]);
        assert.deepEqual([...conv(images).dataSync()], results[0]);
        return results;
      });
      kept.forEach((values, i) => values.forEach((v, k) => assert.ok(Math.abs(v - plain[i][k]) <= 5e-5 * (1 + Math.abs(v)), `${w}: ${v} is not ${plain[i][k]}`)));
      frozen.dispose();
      file.close();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('gradients of dilated convolutions equal differences', { skip }, () => {
  tf.setBackend(BACKEND);
  for (const c of DILATED) gradientHolds(JSON.stringify(c), run(c) as (...t: tf.Tensor[]) => tf.Tensor, inputs(c));
});

test("TensorFlow.js's own convolutions and their gradients run natively", { skip }, () => {
  for (const pad of ['same', 'valid', 1] as const)
    for (const strides of [1, 2, [2, 1]] as (number | [number, number])[]) {
      const conv = (x: tf.Tensor, w: tf.Tensor): tf.Tensor => tf.conv2d(x as Tensor4D, w as Tensor4D, strides, pad);
      const depthwise = (x: tf.Tensor, w: tf.Tensor): tf.Tensor => tf.depthwiseConv2d(x as Tensor4D, w as Tensor4D, strides, pad);
      for (const [f, filter] of [[conv, [3, 2, 5, 6]], [depthwise, [3, 2, 5, 1]], [depthwise, [3, 2, 5, 2]]] as const) {
        if (f === depthwise && Array.isArray(strides)) continue;
        agrees(`${f.name} ${pad} ${strides}`, f, [random([2, 7, 8, 5]), random([...filter])], { tolerance: 1e-5 });
        agrees(`gradients of ${f.name} ${pad} ${strides}`, (x, w) => tf.grads(f)([x, w], tf.onesLike(f(x, w))), [random([2, 7, 8, 5]), random([...filter])], { tolerance: 1e-4 });
      }
    }
});

test('fused convolutions add the bias and apply the activation', { skip }, () => {
  const fused = (activation: 'linear' | 'relu' | 'sigmoid') => (x: tf.Tensor, filter: tf.Tensor, bias: tf.Tensor): tf.Tensor =>
    tf.fused.conv2d({ x: x as Tensor4D, filter: filter as Tensor4D, strides: 1, pad: 'same', bias, activation });
  for (const activation of ['linear', 'relu', 'sigmoid'] as const)
    agrees(activation, fused(activation), [random([2, 5, 5, 3]), random([3, 3, 3, 7]), random([7])], { tolerance: 1e-5 });
});

test('calls that the native kernels do not serve give what TensorFlow.js gives', { skip }, () => {
  const nchw = (x: tf.Tensor, w: tf.Tensor): tf.Tensor => tf.conv2d(x as Tensor4D, w as Tensor4D, 1, 'same', 'NCHW');
  const images = random([2, 3, 4, 5]), filter = random([3, 3, 3, 6]);
  agrees('NCHW', (x, w) => [nchw(x, w), ...tf.grads(nchw)([x, w], tf.onesLike(nchw(x, w)))], [images, filter],
    { tolerance: 1e-5, fallback: ['Conv2D', 'Conv2DBackpropInput', 'Conv2DBackpropFilter'] });
  const fused = (x: tf.Tensor, w: tf.Tensor, bias: tf.Tensor): tf.Tensor => tf.fused.conv2d({ x: x as Tensor4D, filter: w as Tensor4D, strides: 1, pad: 'same', bias });
  for (const bias of [[], [1], [4, 1]]) agrees(`bias [${bias}]`, fused, [random([1, 4, 4, 3]), random([3, 3, 3, 4]), random(bias)], { tolerance: 1e-5, fallback: ['FusedConv2D'] });
});
