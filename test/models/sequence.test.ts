import { attendsApart, Rng, tf, useBackend, type Tensor, type Variable } from '@graft/kernels';
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { ActiveGraft } from '../../src/adapters/active.js';
import type { Method } from '../../src/adapters/method.js';
import { Forward } from '../../src/models/forward.js';
import type { Batch } from '../../src/models/model.js';
import { batchOf, compute, maxDifference, openSmall, type Golden } from './golden.js';

before(() => useBackend('auto'));

const NAMES = ['bert-classify', 'bert-tag', 'roberta-classify', 'xlm-roberta-tag', 'gpt2-clm', 'gpt2-classify', 'llama-clm', 'llama3-classify', 'qwen2-clm'];

const lengthsOf = (golden: Golden): number[] => golden.attention_mask!.map((row) => row.reduce((a, b) => a + b, 0));
const isPadded = (golden: Golden): boolean => golden.attention_mask!.every((row, b) => row.every((m, t) => m === Number(t < lengthsOf(golden)[b])));

/** A method that looks at the blocks and leaves them as they are. */
const watcher = (shapes: number[][], tokenwise: boolean): Method => ({
  name: 'watcher', summary: '', paper: null, options: {}, params: () => [], tokenwise,
  sites: (model) => model.sites.filter((s) => s.kind === 'block'),
  change: ({ x, base }) => { shapes.push(x.shape); return base(x); },
});

for (const name of NAMES) {
  test(`${name}: texts without their padding give what transformers gives with it, in the gradients too`, async (t) => {
    if (!attendsApart()) return t.skip('this backend computes padding');
    const { checkpoint, model, golden } = await openSmall(name);
    assert.ok(isPadded(golden));
    const lengths = lengthsOf(golden), N = lengths.reduce((a, b) => a + b, 0), [B, T] = [golden.input_ids!.length, golden.input_ids![0].length];
    assert.ok(N < 0.9 * B * T, 'the golden batch has padding');
    const batch = { ...batchOf(golden), lengths } as Batch;

    for (const tokenwise of [true, false]) {
      const shapes: number[][] = [];
      const graft = new ActiveGraft(watcher(shapes, tokenwise), {}, model, null, new Map(), new Map());
      const { hidden, logits } = compute(model, checkpoint, golden, model.head!, [graft], {}, batch);
      assert.ok(shapes.every((s) => s.slice(0, 2).join() === (tokenwise ? `1,${N}` : `${B},${T}`)), JSON.stringify(shapes));
      assert.ok(maxDifference(hidden, golden.hidden) <= 2e-5);
      assert.ok(maxDifference(logits, golden.logits) <= 5e-5);
    }

    const weights = new Map(model.sites.filter((s) => s.kind === 'linear' || s.kind === 'embedding').map((s) => s.weight!).filter((w) => checkpoint.has(w))
      .map((w): [string, Variable] => [w, tf.variable(tf.clone(checkpoint.get(w)), true)]));
    const trained = new ActiveGraft({ ...watcher([], true), sites: () => [] }, {}, model, null, weights, new Map());
    const mask = batchOf(golden) as { mask: Tensor };
    const gradients = (given: Batch): Float32Array[] => tf.tidy(() => {
      const { grads } = tf.variableGrads(() => {
        const f = new Forward(model.sites, checkpoint, [trained]);
        const logits = model.logits(f, model.backbone(f, given), model.head!);
        const weighted = tf.mul(logits, tf.tensor(Float32Array.from({ length: logits.size }, ((rng) => () => rng.normal())(new Rng(1))), logits.shape));
        return tf.sum(logits.rank === 3 ? tf.mul(weighted, tf.expandDims(mask.mask, -1)) : weighted) as tf.Scalar;
      }, [...weights.values()]);
      return Object.values(grads).map((g) => g.dataSync().slice() as Float32Array);
    });
    const packed = gradients(batch), padded = gradients(batchOf(golden));
    assert.ok(packed.length > 2);
    packed.forEach((g, i) => {
      const most = Math.max(...padded[i].map(Math.abs), 1);
      assert.ok(maxDifference(g, padded[i]) <= 2e-5 * most, `gradient ${i}: ${maxDifference(g, padded[i])} of ${most}`);
    });
    checkpoint.close();
  });
}
