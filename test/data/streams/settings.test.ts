import assert from 'node:assert/strict';
import { Rng } from '@graft/kernels/random';
import { test } from 'node:test';
import { STANDARD } from '../../../src/data/corruptions/registry.js';
import { groupsOf } from '../../../src/data/splits.js';
import { orderDomains } from '../../../src/data/streams/orders.js';
import { settingNamed } from '../../../src/data/streams/settings.js';

/** Two domains × five severities × 40 rows of four classes. */
const rows = Array.from({ length: 400 }, (_, i) => ({ domain: i < 200 ? 'fog' : 'snow', severity: 1 + (Math.floor(i / 40) % 5), label: i % 4 }));
const groups = groupsOf(rows.map((r) => r.domain));
const stream = { domains: groups.map((g) => ({ name: rows[g[0]].domain, rows: g })), severity: rows.map((r) => r.severity), label: rows.map((r) => r.label) };
const order = (name: string, options = {}): number[] => [...settingNamed(name).order(stream, new Rng(1), options)];
const runs = <T>(values: T[]): T[] => values.filter((v, i) => v !== values[i - 1]);

test('continual: one domain after another; mixed: all rows once, domains between each other', () => {
  assert.deepEqual(order('continual'), Array.from({ length: 400 }, (_, i) => i));
  const mixed = order('mixed');
  assert.deepEqual([...mixed].sort((a, b) => a - b), order('continual'));
  assert.ok(runs(mixed.map((r) => rows[r].domain)).length > 100);
});

test('gradual: severities go up and down by one', () => {
  assert.deepEqual(runs(order('gradual').map((r) => `${rows[r].domain}${rows[r].severity}`)),
    ['fog5', 'fog4', 'fog3', 'fog2', 'fog1', 'snow1', 'snow2', 'snow3', 'snow4', 'snow5', 'snow4', 'snow3', 'snow2', 'snow1']);
  assert.equal(order('gradual-sym').length, 2 * 9 * 40);
});

test('correlated: every row once, labels in runs, longer for a smaller delta', () => {
  const length = (delta: number): number => 400 / runs(order('correlated', { delta }).map((r) => rows[r].label)).length;
  assert.deepEqual([...order('correlated', { delta: 0.1 })].sort((a, b) => a - b), order('continual'));
  assert.ok(length(0.1) > 10, `mean run ${length(0.1)}`);
  assert.equal(runs(order('correlated', { delta: 0 }).map((r) => rows[r].label)).length, 8);
});

test('domains: the benchmark\'s order, a published one, or given', () => {
  assert.deepEqual(orderDomains(['toys', 'fog', 'shot_noise'], undefined), ['shot_noise', 'fog', 'toys']);
  const all = STANDARD.map((c) => c.name);
  for (let i = 0; i < 10; i++) assert.deepEqual(orderDomains(all, String(i)).sort(), [...all].sort());
  assert.deepEqual(orderDomains(['fog', 'brightness', 'glass_blur'], '0'), ['brightness', 'glass_blur', 'fog']);
  assert.throws(() => orderDomains(['fog', 'snow'], 'snow'), /leaves out the domain 'fog'/);
});
