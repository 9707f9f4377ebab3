import { before, test } from 'node:test';
import assert from 'node:assert/strict';
import { residual, tf, variableGradients, type Activation } from '../src/index.js';
import { agrees, BACKEND, gradientHolds, random, skip, start } from './against.js';

before(start);

for (const activation of ['none', 'relu', 'gelu'] as Activation[])
  test(`residual, ${activation}: values and gradients, also where a branch is its own trunk`, { skip }, () => {
    const inputs = [random([3, 4, 5]), random([3, 4, 5], 'float32', 2)];
    const f = (x: tf.Tensor, y: tf.Tensor): tf.Tensor => residual(x, y, activation);
    agrees('residual', f, inputs, { tolerance: 1e-6 });
    agrees('gradients', (x, y) => tf.grads(f)([x, y]), inputs, { tolerance: 1e-5 });
    agrees('the gradient of one tensor twice', (x) => tf.grad((t: tf.Tensor) => residual(residual(t, t, activation), t, activation))(x), inputs.slice(0, 1), { tolerance: 1e-5 });
    if (activation !== 'relu') gradientHolds('residual', f, inputs);
  });

test('shapes that are not the same are broadcast', { skip }, () => {
  agrees('broadcast', (x, y) => residual(x, y, 'relu'), [random([3, 4]), random([4])]);
});

test('nothing of a sum is kept for its gradient', { skip }, () => {
  tf.setBackend(BACKEND);
  const v = tf.variable(tf.tensor1d(random([1000]).values));
  const live = (): number => (tf.backend().memory() as unknown as { live: number }).live;
  let before = 0;
  const { grads } = variableGradients(() => {
    before = live();
    const x = tf.tidy(() => residual(tf.mul(v, 2), tf.mul(v, 3)));
    assert.ok(live() - before < 2.5 * 4096, `${live() - before} bytes`); // the sum, and one number of each product
    return tf.sum(x) as tf.Scalar;
  }, [v]);
  assert.ok(grads.get(v)!.dataSync().every((g) => g === 5));
  tf.dispose([v, ...grads.values()]);
});
