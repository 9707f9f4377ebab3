import { tf, type Tensor, type Tensor4D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { instanceStatistics } from '../../src/tta/statistics.js';
import { maxDifference } from '../models/golden.js';
import { scratch } from '../support/tiny.js';
import { bench, images, pixels, step, tinyResnet, type Bench } from './support.js';

let at: Bench, x: Tensor4D;

before(async () => {
  at = await bench(tinyResnet(scratch()));
  x = pixels(images(6, 1));
});
after(() => {
  x.dispose();
  at.runtime.dispose();
});

/** The logits of one batch. */
async function first(name: string, config: Record<string, number> = {}, batch = x): Promise<Float32Array> {
  const a = await at.start(name, config), z = step(a, batch);
  a.dispose();
  return z;
}

test('alpha-bn: α = 1 is the source, α = 0 the batch\'s statistics, --prior N is N/(N + batch); one constant image gives numbers', async () => {
  assert.ok(maxDifference(await first('alpha-bn', { alphaSource: 1 }), await first('source')) < 1e-6);
  assert.ok(maxDifference(await first('alpha-bn', { alphaSource: 0 }), await first('bn-adapt')) < 1e-6);
  assert.deepEqual(await first('alpha-bn', { prior: 6 }), await first('alpha-bn', { alphaSource: 0.5 }));
  const grey = tf.fill([1, 8, 8, 3], 0.5) as Tensor4D;
  assert.ok((await first('alpha-bn', { alphaSource: 0.5 }, grey)).every(Number.isFinite));
  grey.dispose();
});

test('instance-aware statistics: k = 0 are the instance\'s, a large k the common ones; between, what leaves k standard errors', () => {
  tf.tidy(() => {
    const y = tf.tensor4d([0, 4, 0, 4, 10, 12, 10, 12], [2, 2, 2, 1]), common: Tensor[] = [tf.tensor1d([3]), tf.tensor1d([1])];
    const of = (k: number): number[][] => instanceStatistics(y, common, k, 0).map((t) => [...tf.add(t, tf.zeros([2, 1, 1, 1])).dataSync()]);
    const near = (a: number[][], b: number[][]): void => a.forEach((row, i) => assert.ok(maxDifference(row, b[i]) < 1e-5, `${a} ${b}`));
    near(of(0), [[2, 11], [16 / 3, 4 / 3]]); // unbiased variances
    near(of(1000), [[3, 3], [1, 1]]);
    // s_μ = √(1/4), s_σ² = √(2/3): two of them each.
    near(of(2), [[3, 10], [16 / 3 - 2 * Math.sqrt(2 / 3), 1]]);
    const pixel = instanceStatistics(tf.ones([2, 1, 1, 1]), common, 0, 0);
    assert.deepEqual(pixel, common);
  });
});

test('rotta: after n updates on one batch the teacher\'s statistics are (1 - α)ⁿ μ_s + (1 - (1 - α)ⁿ) μ_t, in the first layer', async () => {
  const a = await at.start('rotta', { memory: 6, every: 6, lr: 0, statistics: 0.25 });
  const [mean] = at.source.buffers(), before = at.source.value(mean).dataSync();
  const moved = (): Float32Array => tf.tidy(() => a.state().get(`teacher.${mean}`)!.dataSync().slice() as Float32Array);
  // The memory may hold other images after each step; one of equal images holds the same whatever it keeps.
  const same = tf.tidy(() => tf.tile(tf.slice(x, [0, 0, 0, 0], [1, -1, -1, -1]), [6, 1, 1, 1])) as Tensor4D;
  step(a, same);
  const once = moved();
  for (let n = 2; n <= 4; n++) {
    step(a, same);
    const left = 1 - 0.75 ** n, target = once.map((v, c) => before[c] + ((v - before[c]) * left) / 0.25);
    assert.ok(maxDifference(moved(), target) < 1e-4, String(n));
  }
  same.dispose();
  a.dispose();
});
