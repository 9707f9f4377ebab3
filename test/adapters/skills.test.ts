import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { useBackend } from '@graft/kernels';
import lora from '../../src/adapters/lora.js';
import poly from '../../src/adapters/poly.js';
import type { Graft } from '../../src/formats/graft.js';
import { unrouted, withTask } from '../../src/merging/unroute.js';
import { SkilledTasks } from './regressions.js';

before(() => useBackend('auto'));

test('24 tasks of skills that every block chooses for itself: routing by block learns them, one mixture for all blocks half, one LoRA hardly anything; new tasks take its router alone', () => {
  const known = Array.from({ length: 24 }, (_, i) => i), later = [24, 25, 26], all = new SkilledTasks(1, 27);
  const inventory = { rank: 2, skills: 3, tasks: known.map(String), routerLr: 10 }, one = { rank: 2, alpha: 1 };
  const [shared, mixed, routed] = ([[lora, one], [poly, inventory], [poly, { ...inventory, splits: 4 }]] as const).map(([method, config]) => all.train(method, all.fresh(method, config), known, { steps: 1000 }));
  const before = [all.error(known, () => shared), ...[mixed, routed].map((g) => all.error(known, (t) => unrouted(g, t)))];
  assert.ok(before[0] > 0.7 && before[1] > 0.3 && before[1] < 0.7 && before[2] < 0.1, `${before}`);

  const few = { steps: 400, shots: 16 };
  const each = (f: (task: number) => Graft): number => later.reduce((n, t) => n + all.error([t], () => f(t)), 0) / later.length;
  const plain = (start: Graft): number => each((t) => all.train(lora, start, [t], few));
  const joined = (start: Graft, only?: string): number => each((t) => unrouted(all.train(poly, withTask(start, `${t}`, 0), [t], { ...few, only }), `${t}`));
  const found = { scratch: plain(all.fresh(lora, one)), shared: plain(shared), mu: plain(unrouted(routed, null)), whole: joined(routed), z: joined(routed, 'poly_router'), mixed: joined(mixed, 'poly_router') };
  const { scratch, mu, whole, z } = found, told = JSON.stringify(found);
  assert.ok(whole < mu / 3 && whole < scratch / 3 && whole < found.shared / 3, told);
  assert.ok(z < mu / 2 && z < scratch / 2 && z < found.shared / 2, `12 numbers: ${told}`);
  assert.ok(found.mixed > 0.5, told);
});
