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
const stream = { domains: groups.map((g) => ({ name: rows[g[0]].domain, rows: g })), severity: rows.map((r) => r.severity), label: rows.map((r) => r.label), is_ood: rows.map((_, i) => i % 8 === 7) };
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

test('mixed-correlated: every row once, domains between each other, labels in runs', () => {
  const found = order('mixed-correlated', { delta: 0.1 });
  assert.deepEqual([...found].sort((a, b) => a - b), order('continual'));
  assert.ok(400 / runs(found.map((r) => rows[r].label)).length > 10);
  assert.ok(runs(found.map((r) => rows[r].domain)).length > 100);
});

test('label-shift: with ratio 1 uniform, with a great one a class at a time; between them the prior is ir/(ir + C - 1)', () => {
  const drawn = (imbalance: number, samples: number): number[][] => {
    const found = order('label-shift', { imbalance, samples });
    assert.equal(found.length, 2 * samples);
    assert.ok(found.slice(0, samples).every((r) => rows[r].domain === 'fog') && found.slice(samples).every((r) => rows[r].domain === 'snow'));
    return [0, 1, 2, 3].map((phase) => found.slice((phase * samples) / 4, ((phase + 1) * samples) / 4).map((r) => rows[r].label));
  };
  const phases = drawn(1e9, 400);
  assert.deepEqual(phases.map((p) => new Set(p).size), [1, 1, 1, 1]);
  assert.equal(new Set(phases.map((p) => p[0])).size, 4);
  const most = (phase: number[]): number => Math.max(...[0, 1, 2, 3].map((c) => phase.filter((l) => l === c).length)) / phase.length;
  for (const phase of drawn(1, 8000)) assert.ok(most(phase) < 0.3, `${most(phase)}`);
  for (const phase of drawn(6, 8000)) assert.ok(Math.abs(most(phase) - 6 / 9) < 0.04, `${most(phase)}`);
});

test('long-tail: class k keeps n_max·IF^(-k/(C-1)) rows, in either direction, no row twice', () => {
  const sizes = (direction: string): number[] => {
    const found = order('long-tail', { imbalance: 8, direction });
    assert.equal(new Set(found).size, found.length);
    return [0, 1, 2, 3].map((c) => found.filter((r) => rows[r].label === c && rows[r].domain === 'fog').length);
  };
  assert.deepEqual([sizes('forward'), sizes('uniform'), sizes('backward')], [[50, 25, 13, 6], [50, 50, 50, 50], [6, 13, 25, 50]]);
});

test('open-set: known and unknown rows of a domain in turns, as many of either; a domain without one kind is refused', () => {
  const found = order('open-set', { known: 10 });
  assert.deepEqual(Array.from({ length: 10 }, (_, t) => new Set(found.slice(10 * t, 10 * (t + 1)).map((r) => stream.is_ood[r]))).slice(0, 4).map((s) => [...s]), [[false], [true], [false], [true]]);
  assert.deepEqual([found.length, found.filter((r) => stream.is_ood[r]).length, new Set(found).size], [100, 50, 100]);
  assert.throws(() => settingNamed('open-set').order({ ...stream, is_ood: rows.map(() => true) }, new Rng(1), { known: 1 }), /domain 'fog': has no rows of known classes/);
});

test('domains: the benchmark\'s order, a published one, or given', () => {
  assert.deepEqual(orderDomains(['toys', 'fog', 'shot_noise'], undefined), ['shot_noise', 'fog', 'toys']);
  const all = STANDARD.map((c) => c.name);
  for (let i = 0; i < 10; i++) assert.deepEqual(orderDomains(all, String(i)).sort(), [...all].sort());
  assert.deepEqual(orderDomains(['fog', 'brightness', 'glass_blur'], '0'), ['brightness', 'glass_blur', 'fog']);
  assert.throws(() => orderDomains(['fog', 'snow'], 'snow'), /leaves out the domain 'fog'/);
});
