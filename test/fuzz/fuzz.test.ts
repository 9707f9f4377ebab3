import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { scratch } from '../support/tiny.js';
import { fuzz } from './main.js';
import { mutate } from './mutate.js';
import { Rng } from '@graft/kernels/random';

test('no reader is brought down by damaged files', async () => {
  const { done, findings } = await fuzz({ count: 690, seed: 0, folder: join(scratch(), 'fuzz') });
  assert.ok(done >= 690);
  assert.deepEqual(findings, []);
});

test('the same numbers give the same damage, other numbers other damage', () => {
  const text = Buffer.from('{"a":{"b":[1,2,{"c":"d"}]},"e":null}');
  const damage = (seed: number): string => mutate(text, 'json', new Rng(seed)).toString('hex');
  const all = Array.from({ length: 50 }, (_, i) => damage(i));
  assert.deepEqual(Array.from({ length: 50 }, (_, i) => damage(i)), all);
  assert.ok(new Set(all).size > 40);
});
