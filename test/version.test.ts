import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { describeMachine, nvidiaGpus } from '@graft/kernels/machine';
import { must, scratch } from './support/tiny.js';

test('--version gives the version, the backend, the instruction set it chose and the GPU', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
  const lines = must(['--version']).toString().trim().split('\n');
  assert.equal(lines[0], `graft ${version}`);
  const { backend, because, isa } = describeMachine();
  assert.ok(lines.includes(`backend: ${backend}`));
  assert.ok(lines.includes(`because: ${because}`));
  assert.ok(lines.includes(`instruction set: ${isa}`));
  assert.match(lines.at(-1)!, /^GPU: /);
});

test('GPUs are named as the driver lists them', () => {
  const folder = scratch();
  assert.deepEqual(nvidiaGpus(join(folder, 'none')), []);
  mkdirSync(join(folder, '0000:01:00.0'));
  writeFileSync(join(folder, '0000:01:00.0', 'information'), 'Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t 100\n');
  assert.deepEqual(nvidiaGpus(folder), ['NVIDIA H100 80GB HBM3']);
});
