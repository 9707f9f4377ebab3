import { Field, Int64, List, Schema, Utf8 } from 'apache-arrow';
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { GraftError } from '../../src/errors.js';
import { ArrowWriter } from '../../src/formats/arrow.js';
import { withClassLabel } from '../../src/formats/features.js';
import { writeOutput } from '../../src/formats/output.js';
import { batchOf, type Row } from '../../src/formats/rows.js';
import { openTable } from '../../src/formats/table.js';

const folder = mkdtempSync(join(tmpdir(), 'graft-'));
after(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

const fields = [new Field('text', new Utf8(), true), new Field('label', new Int64(), true), new Field('tags', new List(new Field('item', new Int64(), true)), true)];
const schema = withClassLabel(withClassLabel(new Schema(fields), 'label', ['neg', 'pos']), 'tags', ['O', 'B']);
const rows: Row[] = Array.from({ length: 5 }, (_, i) => ({ text: `row ${i}`, label: i % 2, tags: i === 3 ? null : [0, 1].slice(0, i) }));

async function write(name: string, format: 'stream' | 'file'): Promise<void> {
  await writeOutput(at(name), async (out) => {
    const writer = new ArrowWriter(out, schema, format);
    await writer.write(batchOf(schema, rows.slice(0, 2)));
    await writer.write(batchOf(schema, rows.slice(2)));
    await writer.close();
  });
}

async function read(name: string, columns?: string): Promise<Row[]> {
  const all: Row[] = [];
  for await (const group of (await openTable(at(name), { columns })).rows(3)) all.push(...group);
  return all;
}

const refused = (path: string, why: RegExp) => assert.rejects(read(path), (e) => e instanceof GraftError && e.status === 65 && why.test(e.message));

test('stream and file are told apart by content and give the same rows', async () => {
  for (const format of ['stream', 'file'] as const) {
    await write(format, format);
    assert.deepEqual(await read(format), rows);
    const table = await openTable(at(format));
    assert.deepEqual(table.classNames('label'), ['neg', 'pos']);
    assert.deepEqual(table.classNames('tags'), ['O', 'B']);
    assert.equal(table.classNames('text'), null);
  }
});

test('columns are renamed with their features; a missing one is named', async () => {
  await write('s', 'stream');
  const table = await openTable(at('s'), { columns: 'y=label' });
  assert.deepEqual(table.columns, ['text', 'y', 'tags']);
  assert.deepEqual(table.classNames('y'), ['neg', 'pos']);
  assert.throws(() => table.requireColumns(['text', 'label']), /no column 'label'; it has text, y, tags/);
  await assert.rejects(openTable(at('s'), { columns: 'y=lable' }), { status: 65, message: /s: has no column 'lable' for --columns y=lable; it has text, label, tags$/ });
});

test('a stream cut short anywhere is an error, at the border of two batches too', async () => {
  await write('s', 'stream');
  const whole = readFileSync(at('s'));
  for (const cut of [8, 100, 200]) {
    writeFileSync(at('cut'), whole.subarray(0, whole.length - cut));
    await refused('cut', /cut short/);
  }
  writeFileSync(at('cut'), '');
  await refused('cut', /is empty/);
  writeFileSync(at('cut'), 'a,b\n1,2\n');
  await refused('cut', /neither Arrow, Parquet nor JSON/);
});

test('JSON lines are a table; the line that does not fit is named', async () => {
  writeFileSync(at('j'), rows.map((r) => JSON.stringify(r)).join('\n'));
  assert.deepEqual(await read('j'), rows);
  writeFileSync(at('j'), '{"a":1}\n{"a":\n');
  await refused('j', /j:2: is not JSON: /);
  writeFileSync(at('j'), Buffer.from('{"a":1}\n\0\xffARROW1\n', 'latin1'));
  await refused('j', /j:2: is not JSON but binary data$/);
});
