import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { tf } from '../src/index.js';
import { fallbackCounts, resetFallbackCounts } from '../src/fallback.js';
import { skip, start } from './against.js';

before(start);

test('values of every dtype come back as they were written', { skip }, () => {
  assert.deepEqual([...tf.tensor([1.5, -2]).dataSync()], [1.5, -2]);
  assert.deepEqual([...tf.tensor([3, -4], [2], 'int32').dataSync()], [3, -4]);
  assert.deepEqual([...tf.tensor([true, false], [2], 'bool').dataSync()], [1, 0]);
  assert.deepEqual(tf.tensor(['a', 'ü']).dataSync(), ['a', 'ü']);
  assert.deepEqual([...tf.complex([1, 2], [3, 4]).dataSync()], [1, 3, 2, 4]);
  assert.equal(tf.zeros([0, 3]).dataSync().length, 0);
});

test('an odd kernel runs on the JavaScript backend, complex64 and several outputs included, and is counted', { skip }, () => {
  resetFallbackCounts();
  assert.deepEqual([...tf.fft(tf.complex([1, 2], [3, 4])).dataSync()], [3, 7, -1, -1]);
  const { values, indices } = tf.unique(tf.tensor1d([1, 5, 1]));
  assert.deepEqual([...values.dataSync(), ...indices.dataSync()], [1, 5, 0, 1, 0]);
  assert.equal(fallbackCounts().FFT, 1);
  assert.equal(fallbackCounts().Unique, 1);
});

test('a reshape shares memory and nothing outlives a tidy', { skip }, () => {
  const bytes = (): number => (tf.backend().memory() as unknown as { buffers: number }).buffers;
  const start = bytes();
  tf.tidy(() => {
    const x = tf.ones([4, 6]);
    const made = bytes();
    const y = tf.reshape(x, [3, 8]);
    assert.equal(bytes(), made);
    x.dispose();
    assert.equal(y.dataSync().length, 24);
    tf.real(tf.fft(tf.complex([1, 2], [3, 4])));
  });
  assert.equal(bytes(), start);
});
