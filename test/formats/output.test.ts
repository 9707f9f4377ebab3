import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openOutput, type Span } from '../../src/formats/output.js';

async function copied(path: string, spans: readonly Span[], folder: string): Promise<Buffer> {
  const out = openOutput(path);
  await out.write('before');
  for (const span of spans) await out.copy!(span);
  await out.write(new Uint8Array(300_000).fill(7));
  await out.commit();
  const bytes = readFileSync(path);
  assert.ok(path.startsWith(folder));
  return bytes;
}

test('bytes of other files are copied in their place among those that are written', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'graft-test-')), large = Buffer.alloc(40 << 20, 'a rather long text ');
  writeFileSync(join(folder, 'from'), large);
  const fd = openSync(join(folder, 'from'), 'r');
  try {
    const bytes = await copied(join(folder, 'to'), [{ fd, offset: 3, length: (36 << 20) + 1 }, { fd, offset: 0, length: 0 }, { fd, offset: 10, length: 5 }], folder);
    assert.ok(bytes.equals(Buffer.concat([Buffer.from('before'), large.subarray(3, (36 << 20) + 4), large.subarray(10, 15), Buffer.alloc(300_000, 7)])));
    await assert.rejects(copied(join(folder, 'short'), [{ fd, offset: large.length - 2, length: 5 }], folder), /short: writing failed: the file that is copied ended early/);
  } finally {
    closeSync(fd);
    rmSync(folder, { recursive: true });
  }
});

test('where the kernel does not copy, bytes are read and written', { skip: process.platform !== 'linux' && 'needs /proc' }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'graft-test-')), fd = openSync('/proc/self/cmdline', 'r');
  try {
    const expected = readFileSync('/proc/self/cmdline').subarray(2, 9);
    const bytes = await copied(join(folder, 'to'), [{ fd, offset: 2, length: 7 }], folder);
    assert.ok(bytes.subarray(6, 13).equals(expected));
  } finally {
    closeSync(fd);
    rmSync(folder, { recursive: true });
  }
});
