import { Rng, tf, useBackend, type Variable } from '@graft/kernels';
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { ActiveGraft } from '../../src/adapters/active.js';
import type { Method } from '../../src/adapters/method.js';
import { Forward, type ForwardOptions } from '../../src/models/forward.js';
import type { Batch, Reads } from '../../src/models/model.js';
import { batchOf, maxDifference, openSmall, type Golden } from './golden.js';

before(() => useBackend('auto'));

/** Records how many tokens each feed-forward layer computes on, as a change that leaves them as they are. */
const watcher = (counts: number[], own: Partial<Method> = {}): Method => ({
  name: 'watcher', summary: '', paper: null, options: {}, params: () => [], tokenwise: true,
  sites: (model) => model.sites.filter((s) => s.kind === 'ffn.output'),
  change: ({ x, base }) => { counts.push(x.size / x.shape.at(-1)!); return base(x); }, ...own,
});

const tokensOf = (golden: Golden): number[] => golden.attention_mask?.map((row) => row.reduce((a, b) => a + b, 0)) ?? [];

async function opened(name: string) {
  const { checkpoint, model, golden } = await openSmall(name);
  const head = model.head!, given = new Map<string, Variable>();
  const run = (batch: Batch, reads: Reads | undefined, own: Partial<Method> = {}, options: ForwardOptions = {}) => {
    const counts: number[] = [];
    const graft = new ActiveGraft(watcher(counts, own), {}, model, null, given, new Map());
    const f = new Forward(model.sites, checkpoint, [graft], options);
    const features = model.backbone(f, batch, reads);
    return { features, logits: model.logits(f, features, head), counts };
  };
  return { checkpoint, model, golden, head, given, run };
}

for (const name of ['bert-classify', 'roberta-classify', 'gpt2-classify', 'llama3-classify', 'vit-classify']) {
  for (const packed of name === 'vit-classify' ? [false] : [true, false]) {
    test(`${name}: of the last block ${packed ? 'of texts without padding ' : ''}only what the head reads is computed, to the same logits and gradients`, async () => {
      const { checkpoint, model, golden, head, given, run } = await opened(name);
      const lengths = tokensOf(golden), whole = batchOf(golden);
      // Where all texts are as long as the longest, as they are told to be here, nothing is gained by leaving padding out.
      const batch = name === 'vit-classify' ? whole : { ...whole, lengths: packed ? lengths : undefined } as Batch;
      const reads = model.reads(head)!;
      assert.equal(reads, /gpt2|llama/.test(name) ? 'last' : 'first');
      const B = golden.logits.length / (head.labels?.length ?? 1);
      tf.tidy(() => {
        const { features, logits, counts } = run(batch, reads);
        if (packed || reads === 'first') {
          assert.deepEqual([features.read, features.hidden.shape.slice(0, 2), counts.at(-1)], [true, [B, 1], B]);
          assert.ok(counts.slice(0, -1).every((n) => n > B), 'the other blocks compute all tokens');
        } else assert.equal(features.read, undefined, 'which token is the last is not known');
        assert.ok(maxDifference(logits.dataSync(), golden.logits) <= 5e-5);
      });

      for (const s of model.sites) if (s.kind === 'linear' && checkpoint.has(s.weight!)) given.set(s.weight!, tf.variable(tf.clone(checkpoint.get(s.weight!)), true));
      const gradients = (reads: Reads | undefined): Float32Array[] => tf.tidy(() => {
        const { grads } = tf.variableGrads(() => {
          const { logits } = run(batch, reads), rng = new Rng(1);
          return tf.sum(tf.mul(logits, tf.tensor(Float32Array.from({ length: logits.size }, () => rng.normal()), logits.shape))) as tf.Scalar;
        }, [...given.values()]);
        return Object.values(grads).map((g) => g.dataSync().slice() as Float32Array);
      });
      const [some, all] = [gradients(reads), gradients(undefined)];
      assert.ok(some.length > 6);
      some.forEach((g, i) => assert.ok(maxDifference(g, all[i]) <= 2e-5 * Math.max(1, ...all[i].map(Math.abs)), `gradient ${i}`));
      checkpoint.close();
    });
  }
}

test('of a masked language model the tokens that are scored are computed, some texts having none', async () => {
  const { checkpoint, golden, run } = await opened('bert-mlm');
  const lengths = tokensOf(golden), T = golden.input_ids![0].length, batch = { ...batchOf(golden), lengths } as Batch;
  const at = Int32Array.from(lengths.flatMap((n, b) => (b === 1 ? [] : [b * T + 1, b * T + n - 1])));
  tf.tidy(() => {
    const all = run(batch, undefined), some = run(batch, at);
    assert.deepEqual([some.features.read, some.counts.at(-1)], [true, at.length]);
    const V = all.logits.shape.at(-1)!, values = all.logits.dataSync() as Float32Array;
    assert.ok(maxDifference(some.logits.dataSync(), Float32Array.from([...at].flatMap((p) => [...values.subarray(p * V, (p + 1) * V)]))) <= 2e-5);
    assert.equal(run(batch, Int32Array.from([3, 1])).features.read, undefined, 'not in the order of the tokens');
  });
  checkpoint.close();
});

test('every token is computed for what looks at all of them', async () => {
  const { checkpoint, golden, run } = await opened('bert-classify');
  const cases: [string, Partial<Method>, ForwardOptions][] = [
    ['statistics of inputs', {}, { observe: () => {} }], ['outputs of blocks', {}, { taps: true }], ['a loss of the method', { auxiliary: () => null }, {}],
    ['a change of attention', { attention: ({ input, base }) => base(input) }, {}], ['a change that knows rows', { tokenwise: false }, {}],
  ];
  for (const [what, own, options] of cases) tf.tidy(() => assert.equal(run(batchOf(golden), 'first', own, options).features.read, undefined, what));
  checkpoint.close();
});

test('a change at no site of a model asks nothing of its tokens', async () => {
  const { checkpoint, golden, run } = await opened('bert-classify');
  tf.tidy(() => assert.equal(run(batchOf(golden), 'first', { tokenwise: false, sites: () => [] }).features.read, true));
  checkpoint.close();
});
