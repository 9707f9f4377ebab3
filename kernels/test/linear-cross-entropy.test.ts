import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { crossEntropy, linear, linearCrossEntropy, openMapped, tf, variableGradients, type Scalar, type Tensor, type Tensor1D, type Tensor2D } from '../src/index.js';
import { BACKEND, random, skip, start } from './against.js';

before(start);

const [N, d, V] = [23, 20, 300];

/** A weight and a bias that are mapped, and thereby frozen. */
function withMapped(f: (W: Tensor2D, b: Tensor1D) => void): void {
  tf.setBackend(BACKEND);
  const folder = mkdtempSync(join(tmpdir(), 'graft-')), path = join(folder, 'w');
  writeFileSync(path, Float32Array.from([...random([V, d]).values, ...random([V], 'float32', 0.5).values]));
  const file = openMapped(path);
  try {
    tf.tidy(() => f(file.tensor(0, [V, d], 'F32') as Tensor2D, file.tensor(V * d * 4, [V], 'F32') as Tensor1D));
  } finally {
    file.close();
    rmSync(folder, { recursive: true });
  }
}

const labelled = (): Tensor1D => tf.tensor1d(Array.from({ length: N }, (_, i) => (i % 5 === 2 ? -100 : (i * 37) % V)), 'int32');
const far = (a: Tensor, b: Tensor): number => Number(tf.max(tf.abs(tf.sub(a, b))).dataSync()[0]);

test('a frozen head with its cross-entropy gives what both give one after the other, some rows at a time', { skip }, () => withMapped((W, b) => {
  const labels = labelled(), weights = tf.tensor1d(random([N]).values);
  for (const bias of [null, b]) for (const labelSmoothing of [0, 0.1]) for (const rows of [1, 4, 22, 23, 1000]) {
    const x = tf.variable(tf.tensor2d(random([N, d]).values, [N, d]));
    const [fused, apart] = [
      () => linearCrossEntropy(x, W, bias, labels, { labelSmoothing, logitBytes: rows * V * 4 }),
      () => crossEntropy(linear(x, W, bias) as Tensor2D, labels, { labelSmoothing }),
    ].map((losses) => ({ losses: losses(), ...variableGradients(() => tf.sum(tf.mul(losses(), weights)) as Scalar, [x]) }));
    assert.ok(far(fused.losses, apart.losses) < 1e-5);
    assert.ok(far(fused.grads.get(x)!, apart.grads.get(x)!) < 1e-5);
    assert.ok(far(apart.grads.get(x)!, tf.zerosLike(x)) > 0.1);
    x.dispose();
  }
}));

test('no logits of all rows are there at any time', { skip }, () => withMapped((W) => {
  const rows = 2000, labels = tf.tensor1d(Array.from({ length: rows }, (_, i) => i % V), 'int32'), x = tf.variable(tf.tensor2d(random([rows, d]).values, [rows, d]));
  const bytes = (): number => (tf.backend().memory() as unknown as { live: number }).live;
  const before = bytes();
  let most = 0;
  const { losses } = { losses: linearCrossEntropy(x, W, null, labels, { logitBytes: 10 * V * 4 }) };
  variableGradients(() => {
    const l = linearCrossEntropy(x, W, null, labels, { logitBytes: 10 * V * 4 });
    most = bytes() - before;
    return tf.sum(l) as Scalar;
  }, [x]);
  assert.ok(most > rows * d * 4 && most < rows * V * 4 / 4, `${most} bytes`); // the gradient to x, and no more
  losses.dispose();
  x.dispose();
}));

test('a head that is trained gets its gradient', { skip }, () => {
  tf.setBackend(BACKEND);
  tf.tidy(() => {
    const W = tf.variable(tf.tensor2d(random([V, d]).values, [V, d])), x = tf.tensor2d(random([N, d]).values, [N, d]), labels = labelled();
    const [fused, apart] = [() => linearCrossEntropy(x, W, null, labels), () => crossEntropy(linear(x, W) as Tensor2D, labels)]
      .map((losses) => variableGradients(() => tf.sum(losses()) as Scalar, [W]).grads.get(W)!);
    assert.equal(far(fused, apart), 0);
    W.dispose();
  });
});
