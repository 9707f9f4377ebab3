import { useBackend } from '@graft/kernels';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import type { Headers } from '../../src/models/modules.js';
import { rope } from '../../src/models/rope.js';
import { maxDifference, ROOT } from './golden.js';

before(() => useBackend('auto'));

interface Case { config: object; length: number; positions: number[]; cos: number[]; sin: number[] }
const { dim, cases } = JSON.parse(readFileSync(join(ROOT, 'test/golden/rope.json'), 'utf8')) as { dim: number; cases: Record<string, Case> };
const headers = (config: object): Headers => ({ path: 'model', config: { model_type: 'llama', ...config } }) as Headers;

for (const [name, { config, length, positions, cos, sin }] of Object.entries(cases)) {
  test(`${name}: rotations as transformers computes them`, () => {
    const rotation = rope(headers(config), dim);
    const rows = (start: number, n: number): [number[], number[]] => {
      const tables = rotation(Array.from({ length: n }, (_, t) => start + t));
      return [tables.cos, tables.sin].map((t) => [...t.dataSync()]) as [number[], number[]];
    };
    const whole = rows(0, length);
    [cos, sin].forEach((expected, i) => {
      const got = positions.flatMap((p) => whole[i].slice(p * dim, (p + 1) * dim));
      // float32 angles: an error of half a unit in the last place of the largest one
      assert.ok(maxDifference(got, expected) < 4e-5, `${maxDifference(got, expected)}`);
    });
    assert.deepEqual(rows(5, length - 5), whole.map((t) => t.slice(5 * dim)), 'from a later position on');
  });
}

test('what is not known or lacks a number is refused', () => {
  assert.throws(() => rope(headers({ rope_scaling: { type: 'longrope' } }), dim), /model\/config.json: rope_type 'longrope' is not known: one of default, linear, dynamic, llama3, yarn/);
  assert.throws(() => rope(headers({ rope_scaling: { rope_type: 'llama3', factor: 8 } }), dim), /rope_type 'llama3' needs a number 'low_freq_factor'/);
});
