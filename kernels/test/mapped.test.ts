import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openMapped, tf, useBackend } from '../src/index.js';
import { native } from '../src/native.js';

const BEYOND = 2 ** 31 + 4096;

for (const name of ['wasm', 'cpu'] as const) {
  test(`${name}: stored values of each float type, also beyond 2 GiB`, { skip: name === 'cpu' && !native() ? 'not built' : false }, async () => {
    await useBackend(name);
    const dir = mkdtempSync(join(tmpdir(), 'graft-'));
    try {
      const path = join(dir, 'sparse');
      const fd = openSync(path, 'w');
      writeSync(fd, new Uint8Array(Float32Array.of(1.5, -2).buffer), 0, 8, 0);
      writeSync(fd, new Uint8Array(Uint16Array.of(0x3fc0, 0xc000).buffer), 0, 4, 8); // bf16
      writeSync(fd, new Uint8Array(Uint16Array.of(0x3e00, 0xc000).buffer), 0, 4, 12); // f16
      writeSync(fd, new Uint8Array(Float32Array.of(1.5, -2).buffer), 0, 8, BEYOND);
      closeSync(fd);
      const file = openMapped(path);
      const tensors = [file.tensor(0, [2], 'F32'), file.tensor(8, [2], 'BF16'), file.tensor(12, [2], 'F16'), file.tensor(BEYOND, [2], 'F32')];
      file.close();
      for (const t of tensors) assert.deepEqual([...t.dataSync()], [1.5, -2]);
      tf.dispose(tensors);
      if (name === 'cpu') assert.equal((tf.backend().memory() as unknown as { mapped: number }).mapped, 0);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
}
