import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { putRows, tf } from '../src/index.js';
import { BACKEND, skip, start } from './against.js';

before(start);

const BACKENDS = [BACKEND, 'cpu'];

test('blocks of rows land where they are told, and nothing else changes', { skip }, () => {
  for (const backend of BACKENDS) {
    tf.setBackend(backend);
    const into = tf.variable(tf.zeros([2, 4, 3]));
    putRows(into, tf.tensor2d([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), 3, [2, 1], [1, 7]);
    assert.deepEqual(Array.from(into.dataSync()), [0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 8, 9], backend);
    into.dispose();
  }
});

test('a tensor that shares the variable’s memory keeps its values', { skip }, () => {
  tf.setBackend(BACKEND);
  const into = tf.variable(tf.zeros([2, 2])), before = tf.clone(into);
  putRows(into, tf.ones([1, 2]), 2, [1], [0]);
  assert.deepEqual(Array.from(before.dataSync()), [0, 0, 0, 0]);
});

test('rows that do not fit are refused', { skip }, () => {
  tf.setBackend(BACKEND);
  const into = tf.variable(tf.zeros([2, 2]));
  assert.throws(() => putRows(into, tf.ones([1, 2]), 2, [1], [2]), /rows 2 and 1 more do not fit into 2/);
  assert.throws(() => putRows(into, tf.ones([1, 2]), 2, [1], [-1]), /do not fit/);
  assert.throws(() => putRows(into, tf.ones([2, 2]), 2, [1], [0]), /elements|hold/);
});
