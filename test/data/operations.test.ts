import assert from 'node:assert/strict';
import { Bool, Dictionary, Field, FixedSizeBinary, FixedSizeList, Float32, Int32, Int64, List, Schema, Struct, Utf8, type DataType } from 'apache-arrow';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gatherRows, takeRows } from '../../src/data/gather.js';
import { batchOf, rowsOf, type Row } from '../../src/formats/rows.js';
import { folder, graftData, produced, read } from './support.js';

const item = (type: DataType): Field => new Field('item', type, true);

test('rows of every type are picked, from slices and several batches', () => {
  const schema = new Schema(([
    ['int', new Int32()], ['long', new Int64()], ['bool', new Bool()], ['text', new Utf8()], ['fixed', new FixedSizeBinary(2)],
    ['list', new List(item(new Utf8()))], ['vector', new FixedSizeList(2, item(new Float32()))], ['deep', new List(item(new List(item(new Int32()))))],
    ['struct', new Struct([new Field('a', new Utf8(), true), new Field('b', new Bool(), true)])], ['word', new Dictionary(new Utf8(), new Int32())],
  ] as [string, DataType][]).map(([name, type]) => new Field(name, type, true)));
  const row = (i: number): Row => (i % 5 === 3 ? Object.fromEntries(schema.fields.map((f) => [f.name, null])) : {
    int: i, long: i * 1e10, bool: i % 2 === 0, text: 'x'.repeat(i), fixed: Uint8Array.of(i, i + 1), list: Array.from({ length: i % 4 }, (_, k) => `${i}${k}`),
    vector: Float32Array.of(i, -i), deep: [[i], [], [1, 2, i]], struct: { a: `s${i}`, b: i % 3 === 0 }, word: `w${i % 3}`,
  });
  const rows = Array.from({ length: 30 }, (_, i) => row(i));
  const whole = batchOf(schema, rows);
  const first = whole.slice(3, 20), second = batchOf(schema, rows.slice(10)).slice(5, 17);
  const picks = { part: [1, 0, 0, 1, 0], row: [0, 16, 0, 11, 4], length: 5 };
  const expected = [15, 19, 3, 26, 7].map((i) => rows[i]);
  assert.deepEqual(rowsOf(gatherRows(schema, [first, second], picks)), expected);
  assert.deepEqual(rowsOf(takeRows(second, [2, 2, 0])), [17, 17, 15].map((i) => rows[i]));
});

/** 100 rows: n, a label of three classes, a text. */
async function numbers(file: ReturnType<typeof folder>): Promise<string> {
  const csv = ['n,label,text', ...Array.from({ length: 100 }, (_, i) => `${i},${['a', 'b', 'c'][i % 3]},t${i % 10}`)].join('\n');
  await graftData('import', file('n.csv', csv), '-o', file('n.arrow'));
  return file('n.arrow');
}

const column = (rows: Row[], name = 'n'): unknown[] => rows.map((r) => Number(r[name]));

test('head, tail, sample and shuffle', async (t) => {
  const file = folder(t), all = await numbers(file);
  assert.deepEqual(column((await produced(file, 'head', '-n', '3', all)).rows), [0, 1, 2]);
  assert.deepEqual(column((await produced(file, 'tail', '-n', '3', all)).rows), [97, 98, 99]);
  assert.equal((await produced(file, 'head', '-n', '0', all)).rows.length, 0);
  const sample = column((await produced(file, 'sample', '-n', '20', '--seed', '1', all)).rows) as number[];
  assert.equal(new Set(sample).size, 20);
  assert.deepEqual(sample, [...sample].sort((a, b) => a - b));
  assert.notDeepEqual(column((await produced(file, 'sample', '-n', '20', '--seed', '2', all)).rows), sample);
  const part = (await produced(file, 'sample', '--fraction', '0.5', all)).rows.length;
  assert.ok(part > 30 && part < 70);
  const shuffled = column((await produced(file, 'shuffle', all)).rows) as number[];
  assert.notDeepEqual(shuffled.slice(0, 5), [0, 1, 2, 3, 4]);
  assert.deepEqual([...shuffled].sort((a, b) => a - b), Array.from({ length: 100 }, (_, i) => i));
  await assert.rejects(graftData('sample', all), /give either -n or --fraction/);
});

test('the same seed gives the same bytes', async (t) => {
  const file = folder(t), all = await numbers(file);
  for (const name of ['1', '2']) await graftData('shuffle', '--seed', '7', all, '-o', file(name));
  assert.ok(readFileSync(file('1')).equals(readFileSync(file('2'))));
});

test('select: conditions on numbers, texts and class names; columns; shards', async (t) => {
  const file = folder(t), all = await numbers(file);
  assert.deepEqual(column((await produced(file, 'select', '--where', 'label=b', '--where', 'text=t4', all)).rows), [4, 34, 64, 94]);
  assert.equal((await produced(file, 'select', '--where', 'label!=b', all)).rows.length, 67);
  assert.equal((await produced(file, 'select', '--where', 'label>=1', all)).rows.length, 66);
  const { rows, table } = await produced(file, 'select', '--keep', 'label,n', '--set', 'task=x', '--shard', '2/4', all);
  assert.deepEqual(table.columns, ['label', 'n', 'task']);
  assert.deepEqual(column(rows).slice(0, 3), [1, 5, 9]);
  assert.deepEqual(table.classNames('label'), ['a', 'b', 'c']);
  assert.deepEqual((await produced(file, 'select', '--drop', 'n,text', all)).table.columns, ['label']);
  await assert.rejects(graftData('select', '--where', 'x=1', all, '-o', file('x')), /has no column 'x'; it has n, label, text/);
  await assert.rejects(graftData('select', '--keep', 'x', all, '-o', file('x')), /has no column 'x'/);
  await assert.rejects(graftData('select', '--shard', '5/4', all), /--shard 5\/4/);
});

test('split: every row once, strata in proportion, positions in order', async (t) => {
  const file = folder(t), all = await numbers(file);
  await graftData('split', '--fraction', '0.6,0.2', '--stratify', 'label', all, file('a'), file('b'), file('c'));
  const parts = await Promise.all(['a', 'b', 'c'].map(async (f) => (await read(file(f))).rows));
  assert.deepEqual(parts.map((p) => p.length), [60, 19, 21]); // each class is rounded by itself
  assert.deepEqual(parts.map((p) => p.filter((r) => r.label === 0).length), [20, 7, 7]);
  assert.deepEqual((parts.flatMap((p) => column(p)) as number[]).sort((x, y) => x - y), Array.from({ length: 100 }, (_, i) => i));
  await graftData('split', '--at', '10', all, file('d'), file('e'));
  assert.deepEqual(column((await read(file('e'))).rows).slice(0, 2), [10, 11]);
  await assert.rejects(graftData('split', '--fraction', '0.5', all, file('d')), /at least two files/);
  await assert.rejects(graftData('split', '--fraction', '0.5,0.7', all, file('d'), file('e')), /2 outputs need 1 shares/);
});

test('concat: columns matched by name, classes must agree', async (t) => {
  const file = folder(t), all = await numbers(file);
  await graftData('select', '--keep', 'text,label,n', all, '-o', file('other'));
  const { rows } = await produced(file, 'concat', all, file('other'));
  assert.equal(rows.length, 200);
  assert.deepEqual(rows[150], rows[50]);
  await graftData('import', file('m.csv', 'n,label,text\n1,z,t\n'), '-o', file('m.arrow'));
  await assert.rejects(graftData('concat', all, file('m.arrow'), '-o', file('x')), /the classes of 'label' are z, in .* they are a, b, c/);
  await graftData('select', '--set', 'more=1', all, '-o', file('more'));
  await assert.rejects(graftData('concat', all, file('more'), '-o', file('x')), /has a column 'more'/);
  await assert.rejects(graftData('concat', file('more'), all, '-o', file('x')), /has no column 'more'/);
  const filled = await produced(file, 'concat', '--fill', file('more'), all);
  assert.deepEqual([filled.rows[0].more, filled.rows[150].more, filled.rows[150].text], ['1', null, rows[50].text]);
});

test('roles: sentences with phrases that are tagged by their place', async (t) => {
  const { rows, table } = await produced(folder(t), 'make', 'roles', '-n', '50', '--seed', '3');
  const names = table.classNames('tags')!;
  for (const { tokens, tags } of rows) {
    const spelt = (tags as number[]).map((tag) => names[tag]);
    assert.equal(spelt.length, (tokens as string[]).length);
    assert.ok(spelt.every((tag, i) => !tag.startsWith('I-') || spelt[i - 1] === `B-${tag.slice(2)}`));
    assert.ok(spelt.includes('B-AGENT') && spelt.includes('B-PATIENT'));
  }
});

test('through a pipe: rows in, rows out; a picture stream held for several domains gives the bytes of a file', async (t) => {
  const file = folder(t);
  await graftData('make', 'shapes10', '-n', '6', '-o', file('s'));
  await graftData('corrupt', '--kind', 'fog,snow', '--severity', '1,3', file('s'), '-o', file('c'));
  const graft = new URL('../../../bin/graft.js', import.meta.url).pathname;
  const piped = spawnSync(process.execPath, [graft, 'data', 'corrupt', '--kind', 'fog,snow', '--severity', '1,3'], { input: readFileSync(file('s')) });
  assert.equal(piped.status, 0, String(piped.stderr));
  assert.ok(readFileSync(file('c')).equals(piped.stdout));
  const { rows, table } = await read(file('c'));
  assert.deepEqual(rows.map((r) => `${r.domain}${r.severity}`).filter((d, i, all) => d !== all[i - 1]), ['fog1', 'fog3', 'snow1', 'snow3']);
  assert.equal(table.schema.fields.find((f) => f.name === 'image')!.metadata.get('shape'), '32,32,3');
  assert.equal(table.classNames('label')!.length, 10);
});

test('corrupt: noise belongs to a row\'s id, whatever its place; frost says what it is made of', async (t) => {
  const file = folder(t);
  await graftData('make', 'shapes10', '-n', '4', '-o', file('s'));
  await graftData('corrupt', '--kind', 'frost', file('s'), '-o', file('c'));
  const { rows, table } = await read(file('c'));
  assert.equal(table.schema.metadata.get('frost'), 'procedural');
  await graftData('head', '-n', '2', file('s'), '-o', file('h'));
  assert.deepEqual((await produced(file, 'corrupt', '--kind', 'frost', file('h'))).rows, rows.slice(0, 2));
  await assert.rejects(graftData('corrupt', '--frost-dir', file('none'), file('s'), '-o', file('x')), /none: no such file/);
  await assert.rejects(graftData('corrupt', '--severity', '6', file('s'), '-o', file('x')), /--severity 6: write numbers 1 to 5/);
  await numbers(file);
  await assert.rejects(graftData('corrupt', file('n.arrow'), '-o', file('x')), /has no column 'image'/);
});

test('wrap puts a template around texts, in groups of letters, of the other strand', async (t) => {
  const file = folder(t), dna = file('dna.fa', '>a\nGATTACA\n>b\nNCgt\n');
  await graftData('import', dna, '-o', file('dna.arrow'));
  const texts = async (...options: string[]): Promise<unknown[]> => (await produced(file, 'wrap', ...options, file('dna.arrow'))).rows.map((r) => r.text);
  assert.deepEqual(await texts(), ['GATTACA', 'NCgt']);
  assert.deepEqual(await texts('--kmer', '1'), ['G A T T A C A', 'N C g t']);
  assert.deepEqual(await texts('--kmer', '3'), ['GAT TAC A', 'NCg t']);
  assert.deepEqual(await texts('--complement', '--template', 'DNA\\n{}\\nAnnotation:'), ['DNA\nCTAATGT\nAnnotation:', 'DNA\nNGca\nAnnotation:']);
  assert.deepEqual((await produced(file, 'wrap', file('dna.arrow'))).rows.map((r) => r.id), ['a', 'b'], 'other columns stay');
  await assert.rejects(graftData('wrap', '--template', 'DNA', file('dna.arrow')), /--template DNA: \{\} must stand in it once/);
  await assert.rejects(graftData('wrap', '--kmer', '1.5', file('dna.arrow')), /--kmer 1.5: it must be a whole number/);
  await assert.rejects(graftData('wrap', file('n.jsonl', '{"n":1}\n')), /no column 'text'/);
  await assert.rejects(graftData('wrap', file('gap.jsonl', '{"text":"A"}\n{"text":null}\n')), /row 2: text is missing/);
});
