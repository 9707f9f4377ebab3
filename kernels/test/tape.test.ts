import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { attention, dropout, layerNorm, linear, recomputed, tf, variableGradients, type Tensor1D, type Tensor2D, type Tensor4D, type Variable } from '../src/index.js';
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

/** A deep network of blocks; `through` runs one. What is computed above a block reads earlier ones too. */
function deep(x: tf.Tensor2D, weights: readonly Variable[], gain: tf.Tensor, through: (block: () => tf.Tensor[]) => tf.Tensor[], depth = weights.length) {
  return (): tf.Scalar => {
    const first = tf.mul(x, gain); // made within what is differentiated, and read in every block
    let y = first, notes = tf.scalar(0) as tf.Tensor;
    for (let i = 0; i < depth; i++) {
      const z = y, [next, note] = through(() => tf.tidy(() => {
        const h = linear(z, weights[i % weights.length] as unknown as Tensor2D, null, { activation: 'gelu' });
        const mixed = dropout(tf.add(tf.mul(h, tf.sigmoid(z)), tf.add(first, z)), 0.2, 'seed', i);
        return [mixed, tf.mean(h), z];
      }));
      y = next;
      notes = tf.add(notes, note);
    }
    return tf.add(tf.mean(tf.square(y)), notes) as tf.Scalar;
  };
}

test('blocks that are computed again have the same gradients to the last bit, and leave nothing behind', () => {
  const x = tf.tensor2d(random([6, 8]).values, [6, 8]), weights = [variable([8, 8]), variable([8, 8])], gain = variable([8]), idle = variable([2]);
  const run = (through: (f: () => tf.Tensor[]) => tf.Tensor[]): number[][] => {
    const { value, grads } = variableGradients(deep(x, weights, gain, through, 5), [...weights, gain, idle]);
    assert.equal(grads.size, 3);
    const out = [value, ...[...weights, gain].map((v) => grads.get(v)!)].map((t) => [...t.dataSync()]);
    tf.dispose([value, ...grads.values()]);
    return out;
  };
  const expected = run((f) => f()), tensors = tf.memory().numTensors;
  let runs = 0;
  const again = (f: () => tf.Tensor[]): tf.Tensor[] => recomputed(() => (runs++, f()));
  assert.deepEqual(run(again), expected);
  assert.equal(runs, 10, 'each block twice');
  assert.equal(tf.memory().numTensors, tensors);
  assert.throws(() => run((f) => again(() => { if (runs > 13) throw new Error('in between'); return f(); })), /in between/);
  assert.equal(tf.memory().numTensors, tensors, 'after an error too');
  assert.deepEqual(run(again), expected);
});

test('outside of a gradient a block is merely run, and one that nothing is trained in is not run again', () => {
  const x = tf.tensor2d(random([6, 8]).values, [6, 8]), weights = [variable([8, 8])], gain = variable([8]), above = tf.variable(tf.scalar(2));
  let runs = 0;
  const again = (f: () => tf.Tensor[]): tf.Tensor[] => recomputed(() => (runs++, f())), loss = deep(x, weights, gain, again, 3);
  const plain = tf.tidy(() => loss().dataSync()[0]);
  const { value, grads } = variableGradients(() => tf.mul(loss(), above) as tf.Scalar, [above]);
  assert.equal(runs, 6);
  assert.equal(grads.get(above)!.dataSync()[0], plain);
  tf.dispose([value, ...grads.values()]);
});

test('of blocks that are computed again memory holds one at a time, and the input of each', () => {
  const n = 256, x = tf.zeros([n, n]) as tf.Tensor2D, weights = [variable([n, n])], gain = variable([n]);
  const bytes = (): number => (tf.memory() as unknown as { live: number }).live;
  const peak = (through: (f: () => tf.Tensor[]) => tf.Tensor[], depth: number): number => {
    let most = 0;
    const before = bytes(), { value, grads } = variableGradients(deep(x, weights, gain, (f) => through(() => { const out = f(); most = Math.max(most, bytes() - before); return out; }), depth), [...weights, gain]);
    tf.dispose([value, ...grads.values()]);
    return most / (4 * n * n);
  };
  const of = (through: (f: () => tf.Tensor[]) => tf.Tensor[]): number => (peak(through, 12) - peak(through, 2)) / 10;
  const [kept, again] = [of((f) => f()), of(recomputed)];
  assert.ok(again <= 1.1 && kept >= 4, `matrices kept of a block: ${kept}, ${again} when it is computed again`);
});
