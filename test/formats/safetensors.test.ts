import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { decode, encode } from '../../src/formats/dtype.js';
import { GraftError } from '../../src/errors.js';
import { writeOutput } from '../../src/formats/output.js';
import { openSafetensors, readSafetensors, writeSafetensors } from '../../src/formats/safetensors.js';

const folder = mkdtempSync(join(tmpdir(), 'graft-'));
after(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

function file(header: string | object, data = 0): string {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(at('x'), Buffer.concat([size, text, Buffer.alloc(data)]));
  return at('x');
}

const refused = (path: string, why: RegExp): void => {
  assert.throws(() => openSafetensors(path), (e) => e instanceof GraftError && e.status === 65 && why.test(e.message) && !e.message.includes('\n'));
};

test('what is written is read back, aligned and the same every time', async () => {
  const tensors = [
    { name: 'flag', dtype: 'BOOL' as const, shape: [3], data: () => Uint8Array.of(1, 0, 1) },
    { name: 'w', dtype: 'F32' as const, shape: [2, 2], data: () => encode(Float32Array.of(1, 2, 3, 4), 'F32') },
  ];
  await writeOutput(at('a'), (out) => writeSafetensors(out, tensors, { b: '2', a: '1' }));
  await writeOutput(at('b'), (out) => writeSafetensors(out, [...tensors].reverse(), { a: '1', b: '2' }));
  assert.deepEqual(readFileSync(at('a')), readFileSync(at('b')));
  const read = openSafetensors(at('a'));
  assert.deepEqual(read.metadata, { a: '1', b: '2' });
  assert.equal(read.entries.get('w')!.offset % 8, 0);
  assert.deepEqual([...read.read('flag')], [1, 0, 1]);
  read.close();
  assert.deepEqual([...decode(readSafetensors(readFileSync(at('a'))).tensors.get('w')!.data, 'F32')!], [1, 2, 3, 4]);
});

test('every fault of a header is named', () => {
  const w = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
  refused(file({ w }, 4), /'w' ends at byte .* cut short/);
  refused(file({ w }, 12), /4 bytes at the end/);
  refused(file({ w, v: { ...w, data_offsets: [4, 12] } }, 12), /overlaps/);
  refused(file({ w: { ...w, data_offsets: [8, 16] } }, 16), /8 bytes before tensor 'w'/);
  refused(file({ w: { ...w, shape: [3] } }, 8), /'w' of shape \[3\] needs 12 bytes/);
  refused(file({ w: { ...w, dtype: 'F99' } }, 8), /'w' has the unknown dtype/);
  refused(file({ w: { ...w, shape: [-1] } }, 8), /no valid shape/);
  refused(file(`{"w":${JSON.stringify(w)},"\\u0077":${JSON.stringify(w)}}`, 8), /names 'w' twice/);
  refused(file(`{"w":${'['.repeat(50)}${']'.repeat(50)}}`), /nested deeper/);
  refused(file('{"w":'), /not JSON/);
  writeFileSync(at('y'), Buffer.from([255, 255, 255, 255, 0, 0, 0, 0, 1]));
  refused(at('y'), /over the limit/);
  for (const [head, kind] of [['ARROW1\0\0', 'a table'], ['\xff\xff\xff\xff\0\x01\0\0', 'a table'], ['PAR1\x15\x04\x15\x20', 'a table'], ['text,label\n', 'text'], ['{"text":"a"}\n', 'text']]) {
    writeFileSync(at('y'), Buffer.from(head, 'latin1'));
    refused(at('y'), new RegExp(`is not a safetensors file but ${kind}`));
  }
  writeFileSync(at('y'), '');
  refused(at('y'), /empty/);
  assert.throws(() => openSafetensors(at('none')), (e) => e instanceof GraftError && e.status === 66);
});

test('halves round to nearest even and widen exactly', () => {
  const half = (v: number): number => new Uint16Array(encode(Float32Array.of(v), 'F16').slice().buffer)[0];
  assert.equal(half(1 + 2 ** -11), 0x3c00); // a tie, to even
  assert.equal(half(1 + 3 * 2 ** -11), 0x3c02);
  assert.equal(half(65519.99), 0x7bff);
  assert.equal(half(65520), 0x7c00);
  assert.equal(half(2 ** -24), 1);
  assert.equal(half(2 ** -25), 0);
  assert.equal(half(3 * 2 ** -25), 2);
  const bfloat = (v: number): number => new Uint16Array(encode(Float32Array.of(v), 'BF16').slice().buffer)[0];
  assert.equal(bfloat(1 + 2 ** -8), 0x3f80);
  assert.equal(bfloat(1 + 3 * 2 ** -8), 0x3f82);
  const finite = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((h) => (h & 0x7c00) !== 0x7c00);
  const bytes = new Uint8Array(finite.buffer);
  assert.deepEqual(encode(decode(bytes, 'F16') as Float32Array, 'F16'), bytes);
});

test('a failed write leaves nothing, and the old file', async () => {
  writeFileSync(at('keep'), 'old');
  const before = readdirSync(folder);
  await assert.rejects(writeOutput(at('keep'), async (out) => {
    await out.write('half');
    throw new Error('stop');
  }), /stop/);
  assert.deepEqual(readdirSync(folder), before);
  assert.equal(readFileSync(at('keep'), 'utf8'), 'old');
});
