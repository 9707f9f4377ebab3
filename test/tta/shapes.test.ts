import { tf, type Tensor } from '@graft/kernels';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { corrupt } from '../../src/data/corruptions/corruption.js';
import { corruptionsOf } from '../../src/data/corruptions/registry.js';
import { shapes10 } from '../../src/data/generators/shapes10.js';
import { ROOT } from '../models/golden.js';
import { bench, type Bench } from './support.js';

/** What each method is for, on the fixture ResNet and corrupted shapes: orderings of errors in percent. */
let at: Bench;
interface Picture { image: Uint8Array; label: number }
const clean: Picture[] = [...shapes10(100, 2)];
const under = (kind: string, from = clean): Picture[] =>
  from.map(({ image, label }, row) => ({ label, image: corrupt({ height: 32, width: 32, data: image }, corruptionsOf(kind)[0], { severity: 5, seed: 0, row }) }));
const noise = under('impulse_noise'), contrast = under('contrast');
const sorted = [...noise].sort((a, b) => a.label - b.label);

before(async () => { at = await bench(join(ROOT, 'fixtures/resnet')); });
after(() => at.runtime.dispose());

/** The error over each stream in turn, one adaptation through all of them. */
async function errors(name: string, config: Record<string, number>, streams: readonly (readonly Picture[])[], batch = 50): Promise<number[]> {
  const a = await at.start(name, config);
  const found = streams.map((stream) => {
    let wrong = 0;
    for (let i = 0; i < stream.length; i += batch) {
      const part = stream.slice(i, i + batch);
      wrong += tf.tidy(() => {
        const x = tf.tensor4d(Float32Array.from(part.flatMap((p) => [...p.image]), (v) => v / 255), [part.length, 32, 32, 3]);
        const predicted = (tf.argMax(a.step(x), -1) as Tensor).dataSync();
        return part.filter((p, k) => p.label !== predicted[k]).length;
      });
    }
    return (100 * wrong) / stream.length;
  });
  a.dispose();
  return found;
}

const error = async (name: string, stream: readonly Picture[], config: Record<string, number> = {}, batch?: number): Promise<number> => (await errors(name, config, [stream], batch))[0];

test('noise: every mixture of statistics and information maximisation are better than the source, templates not worse', async () => {
  const source = await error('source', noise);
  for (const [name, config] of [['alpha-bn', { alphaSource: 0.9 }], ['alpha-bn', { alphaSource: 0.5 }], ['bn-adapt', {}], ['shot', {}], ['core', { alphaSource: 0 }]] as const) {
    const found = await error(name, noise, config);
    assert.ok(found < source, `${name} ${JSON.stringify(config)}: ${found}, source ${source}`);
  }
  const t3a = await error('t3a', noise);
  assert.ok(t3a <= source, `t3a ${t3a}, source ${source}`);
});

test('memo: better than the source with one image at a time', async () => {
  const few = noise.slice(0, 40), [source, memo] = [await error('source', few), await error('memo', few, { copies: 8 })];
  assert.ok(memo <= source, `${memo}, source ${source}`);
});

test('images sorted by class: batch statistics are worse than the source; lame is better, note and rotta are better than batch statistics', async () => {
  const [source, bn, lame, note, rotta] = await Promise.all(['source', 'bn-adapt', 'lame', 'note', 'rotta'].map((name) => error(name, sorted, {}, 20)));
  assert.ok(bn > source + 3 && lame < source && note < bn - 3 && rotta < bn - 3, JSON.stringify({ source, bn, lame, note, rotta }));
});

test('at a high rate tent collapses over the rounds; eata, without a Fisher penalty, less; sar does not', async () => {
  const rounds = [noise, contrast, noise, contrast, noise, contrast], last = async (name: string, config: Record<string, number> = { lr: 0.2 }): Promise<number> => (await errors(name, config, rounds)).at(-1)!;
  const [tent, eata, sar, bn] = [await last('tent'), await last('eata'), await last('sar'), await last('bn-adapt', {})];
  assert.ok(tent > bn + 20 && eata < tent - 5 && sar < bn + 5, JSON.stringify({ tent, eata, sar, bn }));
});
