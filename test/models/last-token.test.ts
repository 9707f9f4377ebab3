import { tf, useBackend } from '@graft/kernels';
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Batch } from '../../src/models/model.js';
import { bench, logits } from '../adapters/support.js';
import { maxDifference } from './golden.js';

before(() => useBackend('auto'));

const batch = (ids: number[][], mask: number[][]): Batch => ({ kind: 'text', ids: tf.tensor2d(ids, undefined, 'int32'), mask: tf.tensor2d(mask, undefined, 'float32') });

for (const name of ['gpt2-classify', 'llama3-classify']) {
  test(`${name}: the head reads the last token that is none of padding`, async () => {
    const b = await bench(name);
    const rows = b.golden.input_ids!.map((ids, i) => ids.filter((_, t) => b.golden.attention_mask![i][t]));
    const alone = rows.flatMap((ids) => [...logits(b, [], {}, batch([ids], [ids.map(() => 1)]))]);
    assert.ok(maxDifference(logits(b), alone) < 2e-5, 'padded on the right, as batches are');
    // A real token may have the id of padding.
    const more = rows.map((ids) => [...ids, 0, 0, 0]);
    assert.ok(maxDifference(logits(b, [], {}, batch(more.map((ids) => ids.concat(new Array<number>(14 - ids.length).fill(0))), more.map((ids, i) => Array.from({ length: 14 }, (_, t) => Number(t < rows[i].length))))), alone) < 2e-5);
  });
}

test('with relative positions padding on the left changes nothing', async () => {
  const b = await bench('llama3-classify');
  const T = 14, left = <V>(row: V[], fill: V): V[] => [...new Array<V>(T - row.length).fill(fill), ...row];
  const rows = b.golden.input_ids!.map((ids, i) => ids.filter((_, t) => b.golden.attention_mask![i][t]));
  assert.ok(maxDifference(logits(b, [], {}, batch(rows.map((r) => left(r, 1)), rows.map((r) => left(r.map(() => 1), 0)))), logits(b)) < 2e-5);
});
