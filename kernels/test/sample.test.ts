// Tokens drawn on the GPU are those drawn on the CPU from the same numbers: cuda.test.ts runs this on the emulator, test:gpu on a card.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Rng, sampleRows, samplesInPlace, scoped, tf, type Sampling, type Tensor2D } from '../src/index.js';
import { distribution, draw } from '../src/distribution.js';
import { BACKEND, NAME, skip as missing, start } from './against.js';

const skip = missing || (NAME === 'cuda' ? false : 'graft-cpu draws in JavaScript');
before(start);

const PLAIN: Sampling = { temperature: 1, topK: 0, topP: 1, minP: 0, typical: 1 };
const WAYS: Partial<Sampling>[] = [
  {}, { temperature: 0.3 }, { temperature: 4 }, { topK: 1 }, { topK: 7 }, { topK: 50 }, { topP: 0.913 }, { topP: 0.317 }, { topP: 0 }, { topP: 0.999 }, { minP: 0.05 }, { minP: 1 },
  { topK: 40, topP: 0.807, temperature: 0.7 }, { topK: 20, minP: 0.2 }, { topP: 0.957, minP: 0.02, temperature: 1.5 }, { topK: 5000 },
];

/** Rows as models give them, of few different values, with tokens that cannot be, all alike. */
const KINDS: Record<string, (rng: Rng, i: number) => number> = {
  normal: (rng) => 3 * rng.normal(), ties: (rng) => rng.integer(4), banned: (rng, i) => (i % 3 ? -Infinity : rng.normal()), alike: () => -7.5, zeros: (_, i) => (i % 2 ? 0 : -0),
};

for (const [kind, value] of Object.entries(KINDS)) {
  test(`rows of one kind: ${kind}`, { skip }, () => {
    tf.setBackend(BACKEND);
    for (const V of [1, 5, 300, 1500]) for (const way of WAYS) {
      const sampling = { ...PLAIN, ...way }, rng = new Rng('sample', kind, V), rows = 6;
      const logits = Array.from({ length: rows }, () => Float32Array.from({ length: V }, (_, i) => value(rng, i)));
      const uniforms = [2 ** -20, 1 - 2 ** -20, ...Array.from({ length: rows - 2 }, () => rng.uniform())];
      assert.ok(samplesInPlace(sampling));
      const drawn = scoped(() => sampleRows(tf.tensor2d(logits.flatMap((l) => [...l]), [rows, V]) as Tensor2D, uniforms, sampling));
      drawn.forEach((d, b) => {
        const expected = draw(distribution(logits[b], sampling), uniforms[b]), what = `${kind}, ${V} tokens, ${JSON.stringify(way)}, u = ${uniforms[b]}`;
        assert.equal(d.token, expected.token, what);
        assert.ok(Math.abs(d.score - expected.score) < 1e-6, `${what}: ${d.score}, not ${expected.score}`);
      });
    }
  });
}

test('what it does not have is drawn from logits that are read back', { skip }, () => {
  tf.setBackend(BACKEND);
  const sampling = { ...PLAIN, typical: 0.5 }, logits = Float32Array.from([1, 2, 3, 2.5]);
  assert.ok(!samplesInPlace(sampling));
  const [{ token }] = scoped(() => sampleRows(tf.tensor2d(logits, [1, 4]), [0.4], sampling));
  assert.equal(token, draw(distribution(logits, sampling), 0.4).token);
});

test('logits that are no numbers give no token', { skip }, () => {
  tf.setBackend(BACKEND);
  const [{ token, score }] = scoped(() => sampleRows(tf.tensor2d([1, NaN, 2], [1, 3]), [0.5], PLAIN));
  assert.equal(token, -1);
  assert.ok(Number.isNaN(score));
});
