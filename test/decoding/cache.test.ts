import { tf, useBackend } from '@graft/kernels';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { loadMethod } from '../../src/adapters/registry.js';
import { Decoder } from '../../src/decoding/decoder.js';
import { KeyValueCache } from '../../src/decoding/cache.js';
import { openRuntime, type Runtime } from '../../src/runtime.js';
import { fresh, randomised } from '../adapters/support.js';
import { FOLDER, maxDifference } from '../models/golden.js';

before(() => useBackend('auto'));

const TEXTS = [[5, 9, 33, 12, 2, 18], [40, 3], [7, 7, 21, 60, 3, 11, 8]];

/** The logits after each text, computed in one pass without a cache. */
function whole(runtime: Runtime, ids: readonly number[]): number[] {
  return tf.tidy(() => {
    const T = ids.length;
    const batch = { kind: 'text' as const, ids: tf.tensor2d([...ids], [1, T], 'int32'), mask: tf.ones([1, T]) as never };
    return [...runtime.logits(batch, {}, Int32Array.of(T - 1)).dataSync()];
  });
}

function agree(runtime: Runtime, decoder: Decoder, texts: number[][]): void {
  const first = decoder.start();
  texts.forEach((ids, b) => assert.ok(maxDifference([...first[b]], whole(runtime, ids)) < 2e-5, `prompt ${b}`));
  // The second text goes on twice, the third not at all.
  const grown = texts.length > 1 ? [[...texts[1], 4], [...texts[0], 9], [...texts[1], 30]] : [[...texts[0], 4], [...texts[0], 9]];
  const parents = texts.length > 1 ? [1, 0, 1] : [0, 0];
  const second = decoder.next(grown.map((ids, i) => ({ parent: parents[i], token: ids.at(-1)! })));
  grown.forEach((ids, i) => assert.ok(maxDifference([...second[i]], whole(runtime, ids)) < 2e-5, `step 1, text ${i}: ${maxDifference([...second[i]], whole(runtime, ids))}`));
  const third = decoder.next([{ parent: 1, token: 17 }]);
  assert.ok(maxDifference([...third[0]], whole(runtime, [...grown[1], 17])) < 2e-5, 'step 2');
}

for (const name of ['llama-clm', 'gpt2-clm', 'qwen2-clm', 'mistral-clm']) {
  test(`${name}: token by token as in one pass, texts of several lengths together`, async () => {
    const runtime = await openRuntime({ model: join(FOLDER, name) });
    whole(runtime, TEXTS[0]); // the weights are there from here on
    const tensors = tf.memory().numTensors;
    const decoder = new Decoder(runtime, TEXTS, 4, {});
    agree(runtime, decoder, TEXTS);
    decoder.dispose();
    assert.equal(tf.memory().numTensors, tensors, 'nothing is left behind');
    runtime.dispose();
  });
}

const GRAFTS: Record<string, Record<string, unknown>> = {
  prefix: { tokens: 3, hidden: 8, init: 'normal', dropout: 0, positionOffset: 0 }, prompt: { tokens: 3, init: 'random', pool: 'own' }, lora: { rank: 2 }, ia3: {}, bottleneck: { read: 'h' },
};

for (const [name, config] of Object.entries(GRAFTS)) {
  for (const model of ['llama-clm', 'gpt2-clm']) {
    test(`${model} with a graft of method ${name}: token by token as in one pass`, async () => {
      const path = join(FOLDER, model), plain = await openRuntime({ model: path }), method = await loadMethod(name);
      const defaults = Object.fromEntries(Object.entries(method.options).map(([key, o]) => [key, o.default]));
      const graft = randomised(fresh(plain, method, method.resolve?.({ ...defaults, ...config }, { model: plain.model }) ?? { ...defaults, ...config }));
      plain.dispose();
      const runtime = await openRuntime({ model: path, grafts: [graft] });
      assert.ok(maxDifference(whole(runtime, TEXTS[0]), await frozen(path)) > 1e-3, 'the graft changes something');
      const texts = Decoder.batches(runtime) ? TEXTS : [TEXTS[0]];
      assert.equal(texts.length > 1, name !== 'prefix' && name !== 'prompt');
      const decoder = new Decoder(runtime, texts, 4, {});
      agree(runtime, decoder, texts);
      decoder.dispose();
      runtime.dispose();
    });
  }
}

async function frozen(path: string): Promise<number[]> {
  const runtime = await openRuntime({ model: path });
  const logits = whole(runtime, TEXTS[0]);
  runtime.dispose();
  return logits;
}

test('a full cache and rows that go on unevenly are told', () => {
  const cache = new KeyValueCache(2, 1), t = (n: number) => tf.zeros([1, n, 1, 2]) as never;
  const input = (lengths: number[]) => { const n = lengths[0] + lengths[1]; return { q: t(n), k: t(n), v: t(n), keyMask: null, causal: true, scale: 1, lengths }; };
  cache.extend('a', input([2, 3]));
  cache.commit();
  assert.deepEqual(cache.lengths, [2, 3]);
  assert.throws(() => cache.extend('a', input([1, 0])), /same number of new tokens/);
  assert.throws(() => cache.extend('a', input([2, 2])), /a cache of 4 tokens a row is full/);
  cache.crop([1, 9]);
  assert.deepEqual(cache.lengths, [1, 3]);
  cache.dispose();
});
