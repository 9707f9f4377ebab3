import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { attention, layerNorm, linear, tf, variableGradients, type Tensor1D, type Tensor2D, type Tensor4D, type Variable } from '../src/index.js';
import { random, start } from './against.js';

before(start);

const variable = (shape: number[]): Variable => tf.tidy(() => tf.variable(tf.tensor(random(shape).values, shape)));

/** A little of everything: shared inputs, an identity gradient, several outputs, something that leads nowhere, and a constant. */
function network(x: tf.Tensor, [W, b, g, unused]: Variable[]) {
  return (): tf.Scalar => tf.tidy(() => {
    const h = linear(x, W as unknown as Tensor2D, b as unknown as Tensor1D, { activation: 'gelu' });
    const q = tf.reshape(h, [1, -1, 2, 4]) as Tensor4D;
    const [left, right] = tf.split(tf.reshape(attention(q, q, q), [-1, 8]), 2, 1);
    const y = layerNorm(tf.add(tf.concat([right, left], 1), tf.add(h, h)), g as unknown as Tensor1D, tf.zeros([8]) as Tensor1D, 1e-5);
    tf.mul(unused, 2);
    return tf.sum(tf.mul(tf.square(y), tf.add(y, 1))) as tf.Scalar;
  });
}

test('the gradients are those of tf.variableGrads, and nothing is left behind', () => {
  const x = tf.tensor2d(random([6, 5]).values, [6, 5]), variables = [variable([8, 5]), variable([8]), variable([8]), variable([3])], f = network(x, variables);
  const expected = tf.variableGrads(f, variables.slice(0, 3));
  const tensors = tf.memory().numTensors;
  for (let i = 0; i < 2; i++) {
    const { value, grads } = variableGradients(f, variables);
    assert.equal(value.dataSync()[0], expected.value.dataSync()[0]);
    assert.equal(grads.size, 3, 'a variable the value does not depend on has no gradient');
    for (const v of variables.slice(0, 3)) assert.deepEqual([...grads.get(v)!.dataSync()], [...expected.grads[v.name].dataSync()]);
    tf.dispose([value, ...grads.values()]);
    assert.equal(tf.memory().numTensors, tensors);
  }
});

test('a value that is a variable, and one that depends on none', () => {
  const v = tf.variable(tf.scalar(3)), tensors = tf.memory().numTensors;
  const own = variableGradients(() => v as unknown as tf.Scalar, [v]);
  assert.deepEqual([own.value.dataSync()[0], own.grads.get(v)!.dataSync()[0]], [3, 1]);
  own.grads.get(v)!.dispose();
  assert.equal(variableGradients(() => tf.tidy(() => tf.sum(tf.ones([2])) as tf.Scalar), [v]).grads.size, 0);
  assert.equal(tf.memory().numTensors, tensors + 1);
  assert.equal(v.dataSync()[0], 3);
});

test('what was saved is free before the next gradient is formed: the peak of a deep network does not grow with its gradients', () => {
  const n = 1 << 16, v = tf.variable(tf.ones([n]) as Tensor1D);
  let most = 0;
  const watched = tf.customGrad((...inputs) => ({ value: tf.mul(inputs[0] as tf.Tensor, 1), gradFunc: (dy: tf.Tensor) => {
    most = Math.max(most, tf.memory().numTensors);
    return tf.mul(dy, 1);
  } }));
  const counts = [4, 40].map((depth) => {
    most = 0;
    const before = tf.memory().numTensors;
    const { value, grads } = variableGradients(() => {
      let y: tf.Tensor = v;
      for (let i = 0; i < depth; i++) y = watched(y);
      return tf.sum(y) as tf.Scalar;
    }, [v]);
    tf.dispose([value, ...grads.values()]);
    return most - before - depth; // the outputs of the forward pass themselves
  });
  assert.ok(counts[1] - counts[0] <= 2, `${counts}`);
});
