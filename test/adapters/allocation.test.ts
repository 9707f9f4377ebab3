import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { tf, useBackend, type Tensor } from '@graft/kernels';
import adalora from '../../src/adapters/adalora.js';
import increlora from '../../src/adapters/increlora.js';
import { defaults } from '../../src/adapters/instantiate.js';
import lora from '../../src/adapters/lora.js';
import { weightDelta } from '../../src/adapters/low-rank.js';
import { GraftError } from '../../src/errors.js';
import { maxDifference } from '../models/golden.js';
import { active, bench, fresh, hookCall, logits, randomised } from './support.js';
import { regress, type Outcome } from './regressions.js';

before(() => useBackend('auto'));

/** Four modules that need ranks 6, 1, 1 and 0, where a mean of 2 may be spent: it must go to the first. */
const needs = { ranks: [6, 1, 1, 0], seed: 1, steps: 400, lr: 2e-2 };
const allowed = { alpha: 16, targetRank: 2, orthogonality: 0 };
const within = ({ error }: Outcome, from: number, to: number): void => assert.ok(error >= from && error <= to, `error ${error}, not in ${from} to ${to}`);
const usage = (message: RegExp) => (e: unknown): boolean => e instanceof GraftError && e.status === 64 && message.test(e.message);

test('LoRA of one rank for all misses the module that needs more', () => within(regress(lora, { rank: 2, alpha: 16 }, needs), 0.13, 0.25));

describe('adalora', () => {
  const schedule = { tinit: 40, tfinal: 120, deltaT: 10 };

  test('from enough ranks it finds what each module needs', () => {
    const found = regress(adalora, { ...allowed, ...schedule, rank: 6 }, needs);
    assert.deepEqual(found.ranks, [6, 1, 1, 0]);
    within(found, 0, 1e-3);
  });

  test('it cannot give a module more than it began with', () => {
    const found = regress(adalora, { ...allowed, ...schedule, rank: 4 }, needs);
    assert.deepEqual([found.ranks[0], found.ranks.reduce((a, b) => a + b)], [4, 8]);
    within(found, 0.03, 0.08);
  });
});

describe('increlora', () => {
  test('the module that needs most grows most, from a rank of one', () => {
    const found = regress(increlora, { ...allowed, reserve: 1, top: 1, initWarmup: 10, interval: 10 }, needs);
    assert.deepEqual(found.ranks, [5, 1, 1, 1]);
    within(found, 0.005, 0.03);
    assert.deepEqual(found.events.map((e) => e.step), [20, 30, 40, 50], 'one rank at each growth, and none when the mean is the target');
  });

  const config = { ...defaults(increlora.options), targetRank: 3, reserve: 1, alpha: 2, initWarmup: 0, interval: 1, top: 1 } as never;
  const module = (name: string, B: number[][]): [string, Tensor][] => [
    [`${name}.lora_A`, tf.variable(tf.eye(2))], [`${name}.lora_E`, tf.variable(tf.ones([2, 1]))], [`${name}.lora_B`, tf.variable(tf.tensor2d(B))],
    [`${name}.lora_A.1`, tf.variable(tf.fill([1, 2], 0.5))], [`${name}.lora_B.1`, tf.variable(tf.fill([2, 1], 0.25))],
  ];
  const deltaAt = (tensors: Map<string, Tensor>, name: string): Float32Array => {
    const p = Object.fromEntries([...tensors].filter(([n]) => n.startsWith(`${name}.`)).map(([n, t]) => [n.slice(name.length + 1), t]));
    return weightDelta({ kind: 'linear' } as never, increlora.weightChange!(null as never, p, config)).dataSync() as Float32Array;
  };

  test('the score, and what growth changes', () => {
    const tensors = new Map([...module('a', [[1, -2], [0, 3]]), ...module('b', [[1, 0], [0, 1]])]);
    const kept = new Map([...tensors].filter(([name]) => name.startsWith('b.'))), start = deltaAt(tensors, 'a');
    const events: Record<string, unknown>[] = [];
    const weightGrads = new Map([['a', tf.tensor2d([[0.5, 0.5], [1, -1]])], ['b', tf.zeros([2, 2])]]);
    increlora.afterBackward!(hookCall(tensors, { step: 1, totalSteps: 9, weightGrads }, events), config);
    const [mean, spread] = tensors.get('increlora_scores')!.arraySync() as number[][];
    assert.ok(Math.abs(mean[0] - 0.3375) < 1e-4 && Math.abs(spread[0] - 0.286875) < 1e-4, `I = 2.25, so ${mean[0]} and ${spread[0]}`);
    assert.deepEqual([mean[1], spread[1]], [0, 0]);
    assert.deepEqual(events, [{ ranks: { a: 3, b: 2 } }]);
    assert.deepEqual([...tensors.keys()].filter((n) => n.startsWith('a.')).sort(), ['a.lora_A', 'a.lora_A.1', 'a.lora_A.2', 'a.lora_B', 'a.lora_B.1', 'a.lora_B.2', 'a.lora_E', 'a.lora_E.1']);
    const grown = deltaAt(tensors, 'a');
    assert.ok(maxDifference(grown, start.map((x) => (x * 2) / 3)) < 3e-5, 'what was there counts n/(n + k) of before');
    for (const [name, t] of kept) assert.equal(tensors.get(name), t, `${name} is left alone`);

    increlora.afterBackward!(hookCall(tensors, { step: 2, totalSteps: 9, weightGrads: new Map([['b', tf.fill([2, 2], 9)]]) }, events), config);
    assert.deepEqual(events.at(-1), { ranks: { a: 3, b: 3 } });
    assert.ok(!tensors.has('a.lora_A.2') && !tensors.has('b.lora_A.2'), 'at the target nothing is in reserve');
    const { tensors: stored, config: after } = increlora.finish!(tensors, config);
    assert.deepEqual([...stored].map(([name, t]) => `${name} ${t.shape}`).sort(), ['a', 'b'].flatMap((m) => [`${m}.lora_A 3,2`, `${m}.lora_B 2,3`, `${m}.lora_E 3,1`]));
    assert.equal(after.allocated, true);
  });

  test('without advance learning nothing is in reserve', async () => {
    const b = await bench('bert-classify');
    const run = active(b, increlora, randomised(fresh(b, increlora, { advance: false, targetRank: 2, reserve: 1, interval: 1, initWarmup: 0, top: 99 })), true);
    assert.ok([...run.tensors.keys()].every((name) => !name.endsWith('.1')));
    const start = logits(b, [run]);
    increlora.afterBackward!(hookCall(run.tensors, { step: 1, totalSteps: 9 }), { ...run.config, alpha: 16, scaleBy: 'target' } as never);
    run.bind();
    const half = active(b, increlora, randomised(fresh(b, increlora, { advance: false, targetRank: 2, alpha: 8 })));
    assert.ok(maxDifference(logits(b, [run]), logits(b, [half])) < 1e-5 && maxDifference(start, logits(b, [half])) > 1e-4, 'E = 0: only the scale halves');
  });

  test('what cannot be reached is refused', async () => {
    const b = await bench('bert-classify');
    assert.throws(() => fresh(b, increlora, { rank: 9 }), usage(/--rank 9 lies above --target-rank 8/));
    const run = active(b, increlora, fresh(b, increlora), true);
    assert.throws(() => increlora.afterBackward!(hookCall(run.tensors, { step: 1, totalSteps: 150 }), run.config as never), usage(/0 growths in 150 steps cannot add \d+ ranks; raise --top/));
  });
});
