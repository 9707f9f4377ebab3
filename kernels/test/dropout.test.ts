import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { dropout, tf } from '../src/index.js';
import { BACKEND, data, random, skip, start } from './against.js';

before(start);

test('the mask has the same bytes on every backend and in the gradient', { skip }, () => {
  const x = random([300, 101]);
  const results = ['cpu', BACKEND].map((backend) => {
    tf.setBackend(backend);
    const { value, grad } = tf.valueAndGrad((t: tf.Tensor) => tf.sum(dropout(t, 0.3, 5, 'site')))(tf.tensor(x.values, x.shape));
    return { y: dropout(tf.tensor(x.values, x.shape), 0.3, 5, 'site').dataSync(), grad: grad.dataSync(), value };
  });
  assert.deepEqual(results[0].y, results[1].y);
  assert.deepEqual(results[0].grad, results[1].grad);
});

test('elements are dropped at the rate, rows and neighbours independently, and other seeds drop others', { skip }, () => {
  const n = 100000;
  const ones = data(new Array<number>(n).fill(1));
  const dropped = (...seed: number[]): boolean[] => [...dropout(tf.tensor(ones.values), 0.25, ...seed).dataSync()].map((v) => v === 0);
  const [a, b] = [dropped(1), dropped(2)];
  const share = (f: (i: number) => boolean): number => a.filter((_, i) => f(i)).length / n;
  const near = (value: number, want: number): void => assert.ok(Math.abs(value - want) < 5 * Math.sqrt((want * (1 - want)) / n), `${value}, not ${want}`);
  near(share((i) => a[i]), 0.25);
  for (const step of [1, 2, 64, 1024]) near(share((i) => a[i] && a[(i + step) % n]), 0.0625);
  near(share((i) => a[i] && b[i]), 0.0625);
});
