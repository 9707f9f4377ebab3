import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { CsvParser } from '../../../src/data/import/csv.js';
import { readLines } from '../../../src/data/import/lines.js';
import { folder, graftData, produced, read } from '../support.js';

test('CSV fields: quotes, doubled quotes, newlines and delimiters inside them', () => {
  const parser = new CsvParser(',', true);
  assert.deepEqual(parser.feed('a,"b, ""c""",,d"e'), ['a', 'b, "c"', '', 'd"e']);
  assert.equal(parser.feed('1,"two'), null);
  assert.equal(parser.feed(''), null);
  assert.deepEqual(parser.feed('lines",3'), ['1', 'two\n\nlines', '3']);
  assert.deepEqual(parser.feed('""'), ['']);
  assert.throws(() => parser.feed('"a"b,c'), /'b,c' follows a closing quote/);
});

test('lines come whole wherever the chunks are cut', async () => {
  const bytes = Buffer.from('\ufeffeins\r\nzwö\n\n€ drei', 'utf8');
  for (let size = 1; size <= bytes.length; size++) {
    const chunks = async function* (): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size);
    };
    const got: [string, number][] = [];
    for await (const { lines, first } of readLines('x', chunks(), 'utf8')) lines.forEach((l, i) => got.push([l, first + i]));
    assert.deepEqual(got, [['eins', 1], ['zwö', 2], ['', 3], ['€ drei', 4]]);
  }
});

test('CSV with a header: columns renamed, classes named and sorted, gzip undone', async (t) => {
  const file = folder(t);
  const csv = 'sentence,label,n\n"Good,\nreally",yes,1\nbad,no,2\nso so,maybe,3\n';
  for (const path of [file('a.csv', csv), file('a.csv.gz', gzipSync(csv))]) {
    const { rows, table } = await produced(file, 'import', path, '--columns', 'text=sentence', '--set', 'domain=toys');
    assert.deepEqual(rows[0], { text: 'Good,\nreally', label: 2, n: '1', domain: 'toys' });
    assert.deepEqual(rows.map((r) => r.label), [2, 1, 0]);
    assert.deepEqual(table.classNames('label'), ['maybe', 'no', 'yes']);
  }
});

test('TSV without a header leaves quotes alone; given labels count from --first-label', async (t) => {
  const file = folder(t);
  const path = file('a.tsv', '"a" b\t1\nc "\t2\n');
  const { rows, table } = await produced(file, 'import', path, '--header', 'none', '--names', 'text,label', '--labels', 'World,Sports', '--first-label', '1');
  assert.deepEqual(rows, [{ text: '"a" b', label: 0 }, { text: 'c "', label: 1 }]);
  assert.deepEqual(table.classNames('label'), ['World', 'Sports']);
});

test('numbers are classes in the order of their values', async (t) => {
  const file = folder(t);
  const path = file('a.tsv', Array.from({ length: 12 }, (_, i) => `t\t${i}`).join('\n'));
  const { rows } = await produced(file, 'import', path, '--header', 'none', '--names', 'text,label');
  assert.deepEqual(rows.map((r) => r.label), Array.from({ length: 12 }, (_, i) => i));
});

test('lines of any form by a pattern, in Latin-1', async (t) => {
  const file = folder(t);
  const path = file('TREC.train', Buffer.from('DESC:def What is caf\xe9 ?\nHUM:ind Who ?\n', 'latin1'));
  const pattern = '^(?<label>\\w+):(?<fine>\\w+) (?<text>.*)$';
  const { rows, table } = await produced(file, 'import', '--format', 'text', '--encoding', 'latin1', '--pattern', pattern, path);
  assert.deepEqual(rows, [{ label: 0, fine: 'def', text: 'What is café ?' }, { label: 1, fine: 'ind', text: 'Who ?' }]);
  assert.deepEqual(table.classNames('label'), ['DESC', 'HUM']);
  await assert.rejects(graftData('import', '--format', 'text', path, '-o', file('x')), /TREC.train:1: is not valid UTF-8/);
  await assert.rejects(graftData('import', '--format', 'text', '--encoding', 'latin1', '--pattern', '^(?<text>X.*)', path, '-o', file('x')), /TREC.train:1: does not match/);
});

test('a split of its own takes the class names of another, so that classes it lacks keep their numbers', async (t) => {
  const file = folder(t);
  await graftData('import', file('train.csv', 'text,label\na,z\nb,k\nc,m\n'), '-o', file('train.arrow'));
  const { rows, table } = await produced(file, 'import', file('test.csv', 'text,label\nd,z\ne,m\n'), '--labels-from', file('train.arrow'));
  assert.deepEqual(rows.map((r) => r.label), [2, 1]);
  assert.deepEqual(table.classNames('label'), ['k', 'm', 'z']);
  const rejects = (pattern: RegExp, ...argv: string[]): Promise<void> => assert.rejects(graftData('import', ...argv, '-o', file('out')), pattern);
  await rejects(/row 1: 'q' in column 'label' is none of the classes k, m, z/, file('other.csv', 'text,label\nd,q\n'), '--labels-from', file('train.arrow'));
  await rejects(/no column names its classes/, file('test.csv'), '--labels-from', file('rows.jsonl', '{"text":"a"}\n'));
  await rejects(/--labels and --labels-from exclude each other/, file('test.csv'), '--labels-from', file('train.arrow'), '--labels', 'a');
});

test('paragraphs and documents', async (t) => {
  const file = folder(t);
  const path = file('a.txt', 'one\ntwo\n\n\nthree\n');
  assert.deepEqual((await produced(file, 'import', path)).rows.map((r) => r.text), ['one', 'two', 'three']);
  assert.deepEqual((await produced(file, 'import', path, '--unit', 'paragraph')).rows.map((r) => r.text), ['one\ntwo', 'three']);
  assert.deepEqual((await produced(file, 'import', path, '--unit', 'document')).rows.map((r) => r.text), ['one\ntwo\n\n\nthree']);
});

test('CoNLL: tokens first, tags last, document marks left out', async (t) => {
  const file = folder(t);
  const path = file('a.conll', '-DOCSTART- X O\n\nAnna N B-PER\nsleeps V O\n\n\nBonn N B-LOC\n');
  const { rows, table } = await produced(file, 'import', path);
  assert.deepEqual(rows, [{ tokens: ['Anna', 'sleeps'], tags: [1, 2] }, { tokens: ['Bonn'], tags: [0] }]);
  assert.deepEqual(table.classNames('tags'), ['B-LOC', 'B-PER', 'O']);
  const { rows: pos } = await produced(file, 'import', path, '--fields', 'tokens,tags,-', '--labels', 'V,N,X');
  assert.deepEqual(pos[0], { tokens: ['Anna', 'sleeps'], tags: [1, 0] });
  await assert.rejects(graftData('import', file('b.conll', 'a O\nb\n'), '-o', file('x')), /b.conll:2: has 1 columns where 2 are expected/);
});

test('CoNLL-U: words only, comments read, trees on demand', async (t) => {
  const file = folder(t);
  const line = (id: string, form: string, upos: string, head: string): string => `${id}\t${form}\t_\t${upos}\t_\t_\t${head}\tdep\t_\t_`;
  const path = file('a.conllu', ['# sent_id = s1', '# text = zum Haus', line('1-2', 'zum', '_', '_'), line('1', 'zu', 'ADP', '3'), line('2', 'dem', 'DET', '3'), line('2.1', 'x', 'X', '_'), line('3', 'Haus', 'NOUN', '0'), ''].join('\n'));
  const { rows } = await produced(file, 'import', path, '--trees');
  assert.deepEqual(rows, [{ id: 's1', text: 'zum Haus', tokens: ['zu', 'dem', 'Haus'], tags: [0, 1, 2], lemmas: ['_', '_', '_'], heads: ['3', '3', '0'], deprels: ['dep', 'dep', 'dep'] }]);
});

test('FASTA: sequences over several lines', async (t) => {
  const file = folder(t);
  const path = file('a.fasta', '>one first\r\nACGT\r\nAC\r\n>two\r\nTT\r\n');
  assert.deepEqual((await produced(file, 'import', path)).rows, [{ id: 'one', text: 'ACGTAC' }, { id: 'two', text: 'TT' }]);
  await assert.rejects(graftData('import', file('b.fasta', '>a\n>b\nA\n'), '-o', file('x')), /b.fasta:1: 'a' has no sequence/);
});

test('JSON: lines, an array, an object by id', async (t) => {
  const file = folder(t);
  const rows = [{ text: 'a', label: 'x' }, { text: 'b', label: 'y' }];
  const lines = file('a.jsonl', rows.map((r) => JSON.stringify(r)).join('\n'));
  assert.deepEqual((await produced(file, 'import', lines)).rows, [{ text: 'a', label: 0 }, { text: 'b', label: 1 }]);
  assert.deepEqual((await produced(file, 'import', file('b.json', JSON.stringify(rows)), '--label', 'none')).rows, rows);
  assert.deepEqual((await produced(file, 'import', file('c.json', JSON.stringify({ p: rows[0], q: rows[1] })))).rows.map((r) => r.id), ['p', 'q']);
});

test('what was written can be imported again, its class names unchanged', async (t) => {
  const file = folder(t);
  await graftData('import', file('a.csv', 'text,label\na,z\nb,k\n'), '-o', file('a.arrow'));
  const { rows, table } = await produced(file, 'import', file('a.arrow'));
  assert.deepEqual(rows, (await read(file('a.arrow'))).rows);
  assert.deepEqual(table.classNames('label'), ['k', 'z']);
});

test('broken input: one line naming file and line, and nothing is left behind', async (t) => {
  const file = folder(t);
  const rejects = async (pattern: RegExp, ...argv: string[]): Promise<void> => {
    await assert.rejects(graftData('import', ...argv, '-o', file('out.arrow')), (e: Error) => pattern.test(e.message) && !e.message.includes('\n'));
    assert.ok(!existsSync(file('out.arrow')));
  };
  await rejects(/a.csv:3: has 3 fields where 2 are expected \(text, label\)/, file('a.csv', 'text,label\na,b\na,b,c\n'));
  await rejects(/b.csv:2: a quoted field that begins here never ends/, file('b.csv', 'text,label\n"a,b\nc,d\n'));
  await rejects(/c.csv: is empty/, file('c.csv', ''));
  await rejects(/row 2: 'b' in column 'label' is none of the classes a/, '--labels', 'a', file('d.csv', 'text,label\nx,a\ny,b\n'));
  await rejects(/no such file/, file('missing.csv'));
  await rejects(/is broken gzip/, file('e.csv.gz', gzipSync('text,label\n'.repeat(9999)).subarray(0, 40)));
  await rejects(/--raw is no option of the format csv/, '--raw', file('d.csv'));
  await rejects(/--header none needs --names/, '--header', 'none', file('d.csv'));
  await rejects(/neither name nor contents tell the format/, file('what', 'hello'));
  await rejects(/has no column 'x'; it has text, label/, '--columns', 'text=x', file('d.csv'));
});
