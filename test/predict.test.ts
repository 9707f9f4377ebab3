import { tf, useBackend, type Tensor, type Tensor2D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import type { TextBatch } from '../src/models/model.js';
import clm from '../src/objectives/clm.js';
import type { Preparation } from '../src/objectives/objective.js';
import { scoredBatch, type Spoken } from '../src/objectives/scored.js';
import { predictExamples } from '../src/predict.js';
import { openRuntime } from '../src/runtime.js';
import { FOLDER } from './models/golden.js';

before(() => useBackend('auto'));

const TEXTS = [[5, 9, 33, 12, 2, 18], [40, 3], [7, 7, 21, 60, 3, 11, 8]];

for (const name of ['llama-clm', 'gpt2-clm']) {
  test(`${name}: likelihoods come from the losses of the rows, not from logits of all of them, and are those that the logits give`, async () => {
    const runtime = await openRuntime({ model: join(FOLDER, name) });
    const examples = TEXTS.map((ids, row): Spoken => ({ length: ids.length, text: { ids, types: ids.map(() => 0) }, labels: Int32Array.from(ids), row, bytes: ids.length }));
    const batch = () => scoredBatch(examples.map((e) => e.text), examples.map((e) => e.labels.subarray(1)), 0), given: number[] = [];
    const objective = { ...clm, batch, outputs: (values: Tensor, ...rest: [Spoken[], never, never]) => (given.push(values.rank), clm.outputs(values, ...rest)) };
    const p = { runtime, table: { name: 'texts' }, options: {} } as unknown as Preparation;
    const rows = predictExamples(objective as never, examples, p) as { nll: number; tokens: number }[];
    assert.deepEqual(given, [1]);
    tf.tidy(() => {
      const { inputs, targets } = batch(), logits = runtime.logits(inputs as TextBatch, {}, targets.positions) as Tensor2D;
      const wanted = clm.outputs(logits, examples, targets, p) as typeof rows;
      assert.deepEqual(rows.map((r) => r.tokens), [5, 1, 6]);
      rows.forEach((r, i) => assert.ok(Math.abs(r.nll - wanted[i].nll) < 1e-4 * wanted[i].nll && wanted[i].nll > 1, `${r.nll}, not ${wanted[i].nll}`));
    });
    runtime.dispose();
  });
}
