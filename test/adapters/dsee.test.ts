import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { Rng, tf, useBackend, type Tensor } from '@graft/kernels';
import dsee, { packed, unpacked } from '../../src/adapters/dsee.js';
import { support } from '../../src/adapters/dsee-support.js';
import { decode } from '../../src/formats/dtype.js';
import type { Graft } from '../../src/formats/graft.js';
import { prune, type PruneOptions } from '../../src/merging/prune.js';
import type { Site } from '../../src/models/site.js';
import { maxDifference } from '../models/golden.js';
import { active, bench, fresh, gradients, logits, merged, norm, overlay, randomised, type Bench } from './support.js';

before(() => useBackend('auto'));

const options: PruneOptions = { by: 'abs', ratio: 0.2, seed: 0 };
const targets = ['query', 'value'];

/** Random tensors, but for what they are at: support and mask. */
function moved(graft: Graft): Graft {
  const random = randomised(graft);
  for (const [name, t] of graft.tensors) if (t.dtype === 'I32') random.tensors.set(name, t);
  return random;
}

const siteOf = (b: Bench, name: string): Site => b.model.sites.find((s) => s.kind === 'linear' && s.name.endsWith(name))!;
const masks = (b: Bench, graft: Graft): [Site, Uint8Array][] => [...graft.tensors].filter(([n]) => n.endsWith('.dsee_mask')).map(([n, t]) => {
  const site = b.model.sites.find((s) => s.kind === 'linear' && `${s.name}.dsee_mask` === n)!;
  return [site, unpacked(decode(t.data, 'I32') as Int32Array, site.dimIn * site.dimOut)];
});
const kept = (all: [Site, Uint8Array][]): number => all.reduce((n, [, m]) => n + m.reduce((a, v) => a + v, 0), 0);

describe('dsee', () => {
  test('the support finds spikes on a matrix of low rank, where their size does not', () => {
    const d = 64, rng = new Rng('spikes');
    const [U, V] = [0, 1].map(() => Float64Array.from({ length: d * 6 }, () => rng.normal()));
    const W = Float64Array.from({ length: d * d }, (_, i) => {
      let sum = 0;
      for (let k = 0; k < 6; k++) sum += U[Math.floor(i / d) * 6 + k] * V[(i % d) * 6 + k];
      return 0.1 * sum + rng.normal(0, 0.002);
    });
    const spikes = rng.permutation(d * d).slice(0, 16);
    spikes.forEach((i, j) => { W[i] += j % 2 === 0 ? 0.15 : -0.15; });
    const site = { name: 'w', kind: 'linear', dimIn: d, dimOut: d } as Site;
    const found = (kind: 'grebsmo' | 'magnitude'): number => [...support(kind, Float32Array.from(W), site, 16, new Rng('start'))].filter((i) => spikes.includes(i)).length;
    assert.equal(found('grebsmo'), 16);
    assert.ok(found('magnitude') <= 7);
    assert.throws(() => support('random', Float32Array.from(W), site, d * d + 1, rng), /--sparse 4097 is more than the 64×64 weight of w/);
  });

  for (const name of ['bert-classify', 'gpt2-clm']) {
    test(`on ${name} the sparse part changes its support alone, and has gradients there`, async () => {
      const b = await bench(name);
      const config = { rank: 2, alpha: 3, sparse: 5, support: 'magnitude' };
      const graft = moved(fresh(b, dsee, config));
      const act = active(b, dsee, graft, true);
      const site = dsee.sites(b.model, act.config as never)[0];
      const at = (n: string): Tensor => act.tensors.get(`${site.name}.${n}`)!;
      const { A, B, scale } = dsee.weightChange!(site, { dsee_U: tf.zerosLike(at('dsee_U')), dsee_V: at('dsee_V'), dsee_S_index: at('dsee_S_index'), dsee_S_value: at('dsee_S_value') }, act.config as never);
      const S = tf.mul(tf.matMul(B, A), scale).dataSync(), index = at('dsee_S_index').dataSync(), value = at('dsee_S_value').dataSync();
      S.forEach((v, i) => assert.ok(Math.abs(v - 1.5 * (index.includes(i) ? value[index.indexOf(i)] : 0)) < 1e-6));
      const W = b.checkpoint.get(site.weight!).dataSync(), stored = (i: number): number => W[site.transposed ? (i % site.dimIn) * site.dimOut + Math.floor(i / site.dimIn) : i];
      const least = Math.min(...Array.from(index, (i) => Math.abs(stored(i))));
      assert.equal(W.filter((w) => Math.abs(w) > least).length, 4, 'the support is the five largest');
      const grads = gradients(b, act);
      for (const n of ['dsee_U', 'dsee_V', 'dsee_S_value']) assert.ok(norm(grads.get(`${site.name}.${n}`)) > 0, n);
      assert.ok(!grads.has(`${site.name}.dsee_S_index`));
      const v = act.trained.get(`${site.name}.dsee_S_value`)!, g = grads.get(`${site.name}.dsee_S_value`)!.dataSync()[2], start = v.dataSync().slice();
      const loss = (h: number): number => {
        v.assign(tf.tensor1d(start.map((x, i) => (i === 2 ? x + h : x))));
        const z = logits(b, [act]);
        return z.reduce((s, x) => s + x * x, 0) / z.length;
      };
      if (name === 'bert-classify') assert.ok(Math.abs((loss(5e-2) - loss(-5e-2)) / 0.1 - g) < 0.03 * Math.abs(g) + 2e-5, 'the slope of the loss');
      b.checkpoint.close();
    });
  }

  for (const by of ['abs', 'ab', 'wab', 'wabs', 'w', 'random'] as const) {
    test(`pruning by ${by} keeps exactly four fifths, the largest, and computes W ∘ M with the update; merged it is the same`, async () => {
      const b = await bench('bert-classify');
      const graft = moved(fresh(b, dsee, { rank: 2, sparse: 5 }));
      const pruned = await prune(b.checkpoint, graft, { ...options, by });
      const all = masks(b, pruned), own = all.filter(([s]) => targets.some((t) => s.name.endsWith(t))), rest = all.filter(([s]) => !targets.some((t) => s.name.endsWith(t)));
      for (const part of [own, rest]) assert.equal(kept(part), Math.round(0.8 * part.reduce((n, [, m]) => n + m.length, 0)));
      assert.ok(rest.every(([s]) => s.layer >= 0) && rest.length > 0);
      if (by === 'w') for (const [s, m] of [...own, ...rest].slice(0, 3)) {
        const W = b.checkpoint.get(s.weight!).dataSync().map(Math.abs);
        assert.ok(Math.max(...W.filter((_, i) => !m[i])) <= 1.0001 * Math.min(...all.filter(([o]) => own.some(([t]) => t === o) === own.some(([t]) => t === s)).flatMap(([o, k]) => Array.from(b.checkpoint.get(o.weight!).dataSync().filter((_, i) => k[i])).map(Math.abs))));
      }
      const act = active(b, dsee, pruned);
      const hand = overlay(b.checkpoint, new Map(all.map(([s, m]) => [s.weight!, tf.mul(b.checkpoint.get(s.weight!), tf.tensor(Float32Array.from(m), b.checkpoint.get(s.weight!).shape))])));
      const mine = logits(b, [act]);
      assert.ok(maxDifference(mine, logits(b, [active(b, dsee, graft)], {}, b.batch, hand)) < 1e-5);
      assert.ok(maxDifference(mine, logits(b, [], {}, b.batch, await merged(b, [pruned]))) < 1e-5);
      await assert.rejects(prune(b.checkpoint, pruned, options), /has been pruned before/);
      b.checkpoint.close();
    });
  }

  test('heads that go are those of least update; they compute nothing, whatever their query, key and value hold', async () => {
    const b = await bench('bert-classify');
    const pruned = await prune(b.checkpoint, moved(fresh(b, dsee, { rank: 2, sparse: 5 })), { ...options, heads: 1 });
    const output = siteOf(b, 'layer.0.attention.output.dense'), query = siteOf(b, 'layer.0.attention.self.query');
    const of = new Map(masks(b, pruned));
    const { headDim, heads } = b.model.sites.find((s) => s.kind === 'attention')! as Required<Site>;
    const columns = Array.from({ length: output.dimIn }, (_, i) => of.get(output)![i]);
    const head = columns.indexOf(0) / headDim;
    assert.equal(columns.filter((k) => !k).length, headDim);
    assert.ok(Number.isInteger(head));
    assert.equal(of.get(query)!.reduce((n, k) => n + k, 0), (heads - 1) * headDim * query.dimIn);
    const U = decode(pruned.tensors.get(`${query.name}.dsee_U`)!.data, 'F32') as Float32Array;
    assert.ok(U.subarray(head * headDim * 2, (head + 1) * headDim * 2).every((v) => v === 0) && U.some((v) => v !== 0));
    // Physically: whatever the rows of the head in query and value are, nothing changes.
    const W = b.checkpoint.get(query.weight!), rows = tf.tensor(Float32Array.from({ length: W.size }, (_, i) => (Math.floor(i / query.dimIn / headDim) === head ? 7 : 0)), W.shape);
    const act = active(b, dsee, pruned);
    assert.ok(maxDifference(logits(b, [act]), logits(b, [active(b, dsee, { ...pruned, config: { ...pruned.config, masked: (pruned.config.masked as string[]).filter((n) => n !== query.name) }, tensors: new Map([...pruned.tensors].filter(([n]) => n !== `${query.name}.dsee_mask`)) })], {}, b.batch, overlay(b.checkpoint, new Map([[query.weight!, tf.add(tf.mul(W, tf.tensor(Float32Array.from(of.get(query)!), W.shape)), rows)]])))) < 1e-5);
    b.checkpoint.close();
  });

  test('bits round trip, and what cannot be pruned is refused', async () => {
    const bits = Uint8Array.from({ length: 70 }, (_, i) => Number(i % 3 === 0 || i === 31));
    assert.deepEqual(unpacked(packed(bits), 70), bits);
    const b = await bench('bert-classify');
    const graft = fresh(b, dsee, { rank: 2, sparse: 0 });
    assert.ok(![...graft.tensors.keys()].some((n) => n.includes('dsee_S')));
    await assert.rejects(prune(b.checkpoint, { ...graft, method: 'lora' }, options), /--prune is for dsee grafts; this one is lora/);
    await assert.rejects(prune(b.checkpoint, graft, { ...options, heads: 99 }), /--heads 99: between 1 and/);
    const g = await bench('gpt2-clm');
    await assert.rejects(prune(g.checkpoint, fresh(g, dsee, { rank: 2, sparse: 0 }), { ...options, heads: 1 }), /has no query, key, value and output module/);
    b.checkpoint.close();
    g.checkpoint.close();
  });
});
