import { scoped, tf, type Tensor, type Tensor4D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { placed } from '../../src/adapters/pixel-prompt.js';
import { homeostasis } from '../../src/tta/homeostasis.js';
import type { Adaptation } from '../../src/tta/method.js';
import { maxDifference } from '../models/golden.js';
import { scratch } from '../support/tiny.js';
import { bench, images, pixels, SIZE, step, tinyResnet, type Bench } from './support.js';

let at: Bench;
before(async () => { at = await bench(tinyResnet(scratch())); });
after(() => at.runtime.dispose());

const stream = [1, 2, 3].map((seed) => images(6, seed));
const predictions = (a: Adaptation): Float32Array[] => stream.map((b) => step(a, pixels(b)));
const state = (a: Adaptation, name: string): Float32Array => scoped(() => a.state().get(name)!.dataSync().slice() as Float32Array);
const started = (config: Record<string, unknown>): Promise<Adaptation> => at.start('vdp', { lr: 0.02, loss: 'im', shift: 10, ...config });

test('prompts of zeros change nothing: without learning, the predictions of bn-adapt', async () => {
  const [still, bn] = [await started({ lr: 0 }), await at.start('bn-adapt')];
  predictions(bn).forEach((z, i) => assert.ok(maxDifference(predictions(still)[i], z) < 1e-5));
});

test('no tensor of the model changes, and the prediction is that after the update', async () => {
  const a = await started({}), names = [...at.source.parameters(), ...at.source.buffers()];
  const frozen = names.map((n) => [...at.source.value(n).dataSync()]);
  const [first] = predictions(a), bn = await at.start('bn-adapt');
  assert.deepEqual(names.map((n) => [...at.source.value(n).dataSync()]), frozen);
  assert.ok(maxDifference(first, step(bn, pixels(stream[0]))) > 1e-3);
});

test('within one domain the common prompt is the specific one, cut to its patch', async () => {
  const a = await started({ size: 0.5, location: 'bottom-right' });
  predictions(a);
  const [dsp, dap] = ['pixels.dsp', 'pixels.dap'].map((n) => state(a, `student.${n}`));
  const half = SIZE / 2;
  for (let i = 0; i < half; i++) for (let j = 0; j < half; j++) for (let c = 0; c < 3; c++) {
    assert.ok(Math.abs(dap[3 * (half * i + j) + c] - dsp[3 * (SIZE * (half + i) + half + j) + c]) < 1e-6);
  }
  assert.ok(Math.max(...dap.map(Math.abs)) > 0.02);
});

test('where a domain begins ω is anchored, and pixels of importance stay near there', async () => {
  const anchored = await started({ shift: 0 });
  predictions(anchored);
  assert.ok(Math.max(...state(anchored, 'anchor').map(Math.abs)) > 0.01 && Math.max(...state(anchored, 'importance')) > 0);
  const far = async (lambda: number): Promise<number> => {
    const a = await started({ lambda });
    scoped(() => a.restore(new Map([...a.state()].map(([n, t]) => [n, n === 'importance' ? tf.onesLike(t) : t]))));
    predictions(a);
    return Math.max(...state(a, 'student.pixels.dap').map(Math.abs));
  };
  const [free, held] = [await far(0), await far(1e6)];
  assert.ok(held < 0.75 * free, `${held} ${free}`);
});

test('the graft is one prompt over the whole image: bn-adapt on images with it added predicts the same', async () => {
  const a = await started({ size: 0.75 }), last = predictions(a).at(-1)!;
  const { method, tensors } = a.graft!();
  assert.equal(method, 'pixel-prompt');
  const shifted = tf.add(pixels(stream[2]), tensors.get('pixels.prompt')!) as Tensor4D;
  assert.ok(maxDifference(step(await at.start('bn-adapt'), shifted), last) < 1e-5);
});

test('homeostasis: over the gradient descent of ½k(ω - a)², s is the fall of the loss, and Λ that over the way squared and ξ', () => {
  const [k, a, start, xi, rate] = [2, 3, 0.5, 0.1, 1e-3];
  const omega = tf.variable(tf.tensor1d([start])), hold = homeostasis(omega, xi);
  for (let t = 0; t < 800; t++) scoped(() => {
    const g = tf.mul(k, tf.sub(omega, a)), before = tf.mul(omega, 1);
    omega.assign(tf.sub(omega, tf.mul(rate, g)));
    hold.moved(g, before);
  });
  const end = omega.dataSync()[0], fall = 0.5 * k * ((start - a) ** 2 - (end - a) ** 2);
  hold.consolidate();
  const importance = fall / ((end - start) ** 2 + xi);
  assert.ok(Math.abs(hold.state().get('importance')!.dataSync()[0] - importance) < 0.01 * importance);
  omega.assign(tf.tensor1d([end + 1]));
  const pull = scoped(() => hold.pull().dataSync()[0]);
  assert.ok(Math.abs(pull - 2 * importance) < 0.02 * importance, `${pull} ${importance}`);
  assert.deepEqual([...hold.state().get('path')!.dataSync()], [0]);
  hold.dispose();
  omega.dispose();
});

test('patches lie where they are told to', () => {
  const rows = (location: Parameters<typeof placed>[2]): number[] => scoped(() => [...(tf.sum(placed(tf.ones([1, 2, 1]), [3, 4], location), 2) as Tensor).dataSync()]);
  assert.deepEqual(rows('center'), [0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
  assert.deepEqual(rows('top-right'), [0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual(rows('bottom-left'), [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0]);
});

test('a model without images of one size has no prompt', async () => {
  const sizeless = Object.assign(Object.create(at.source) as typeof at.source, { model: { ...at.source.model, imageSize: undefined } });
  await assert.rejects(at.start('vdp', {}, { source: sizeless }), { status: 64, message: /reads no images of one size/ });
});
