import { Field, Int32, Schema, Utf8 } from 'apache-arrow';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ArrowWriter } from '../../src/formats/arrow.js';
import { batchOf, type Row } from '../../src/formats/rows.js';
import { toSvg } from '../../src/plot/chart.js';
import type { PlotInput } from '../../src/plot/picture.js';
import picture from '../../src/plot/tta.js';

const columns = new Schema([new Field('label', new Int32(), true), new Field('domain', new Utf8()), new Field('pred', new Int32()), new Field('batch', new Int32())]);

async function predictions(rows: readonly Row[], schema = columns): Promise<PlotInput> {
  const parts: Uint8Array[] = [];
  const writer = new ArrowWriter({ name: 'x', write: async (b) => { parts.push(Buffer.from(b)); }, commit: async () => undefined, abort: () => undefined }, schema);
  await writer.write(batchOf(schema, rows));
  await writer.close();
  return { name: 'tent', bytes: Buffer.concat(parts), text: '' };
}
const log = (name: string, ...events: object[]): PlotInput => ({ name, bytes: Buffer.from(events.map((e) => JSON.stringify({ event: 'step', ...e })).join('\n')), text: '' });

type Spec = { layer: { data: { values: { run: string; batch: number; value: number; domain?: string }[] } }[] };
const drawn = async (inputs: PlotInput[], options = {}): Promise<Spec> => await picture.draw(inputs, { field: 'error', smooth: 1, ...options }) as unknown as Spec;

/** Two batches of fog, of two rows each, then one of snow. */
const rows = [[0, 0], [0, 1], [1, 0], [1, 0], [2, 2], [null, 1]].map(([label, pred], i) => ({ label, pred, domain: i < 4 ? 'fog' : 'snow', batch: Math.floor(i / 2) }));

test('predictions: the error of each batch, rows without a label left out, and where domains begin', async () => {
  const [starts, , line] = (await drawn([await predictions(rows)])).layer.map((l) => l.data.values);
  assert.deepEqual(line.map((p) => [p.batch, p.value]), [[0, 0.5], [1, 1], [2, 0]]);
  assert.deepEqual(starts, [{ batch: 0, domain: 'fog' }, { batch: 2, domain: 'snow' }]);
});

test('means stay within a domain', async () => {
  const [, , line] = (await drawn([await predictions(rows)], { smooth: 3 })).layer;
  assert.deepEqual(line.data.values.map((p) => p.value), [0.5, 0.75, 0]);
});

test('logs: error from the accuracy, or another field; beside predictions', async () => {
  const steps = log('source', { step: 0, accuracy: 0.25, drift: 0.5 }, { step: 1, accuracy: 1, drift: 0.75 });
  const values = async (inputs: PlotInput[], field?: string): Promise<unknown[]> => (await drawn(inputs, field ? { field } : {})).layer[2].data.values.map((p) => [p.run, p.value]);
  assert.deepEqual(await values([steps, await predictions(rows)]), [['source', 0.75], ['source', 0], ['tent', 0.5], ['tent', 1], ['tent', 0]]);
  assert.deepEqual(await values([steps], 'drift'), [['source', 0.5], ['source', 0.75]]);
  const svg = await toSvg(await picture.draw([steps, await predictions(rows)], { field: 'error', smooth: 1 }));
  for (const word of ['fog', 'snow', 'source', 'tent', 'error', 'batch']) assert.ok(svg.includes(`>${word}<`), word);
});

test('inputs with nothing to draw are refused', async () => {
  await assert.rejects(drawn([log('x', { step: 0, entropy: 1 })]), /x: no event has the number 'accuracy'/);
  await assert.rejects(drawn([await predictions(rows)], { field: 'drift' }), /tent: predictions have no drift/);
  await assert.rejects(drawn([await predictions(rows.map((r) => ({ ...r, label: null })))]), /tent: has no rows with labels/);
  await assert.rejects(drawn([await predictions(rows, new Schema(columns.fields.slice(1)))]), /tent: has no column 'label'; it has domain/);
});
