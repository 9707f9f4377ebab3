import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { Rng, svd, tf, useBackend, type Tensor } from '@graft/kernels';
import flora from '../../src/adapters/flora.js';
import { weightDelta } from '../../src/adapters/low-rank.js';
import type { Site } from '../../src/models/site.js';
import { maxDifference } from '../models/golden.js';
import { active, bench, fresh, gradients, norm } from './support.js';

before(() => useBackend('auto'));

const site = { name: 'conv', kind: 'conv', layer: 0, role: 'conv', dimIn: 16, dimOut: 16, conv: { kernel: [3, 3], stride: 1, padding: 1 } } as Site;

function factors(ranks: number[]): Record<string, Tensor> {
  const rng = new Rng('flora');
  return Object.fromEntries(flora.params(site, { ranks, scale: 2, dropout: 0 }, null as never).map((s) => [s.name, tf.tensor(Float32Array.from({ length: s.shape.reduce((a, b) => a * b) }, () => rng.normal()), s.shape)]));
}

describe('flora', () => {
  test('the change of a convolution is the sum over the core: s Σ G[a,b,c,d] P_in[i,a] P_out[o,b] P_h[h,c] P_w[w,d]', () => {
    const p = factors([3, 2, 2, 3]);
    const [G, I, O, H, W] = ['flora_G', ...[0, 1, 2, 3].map((i) => `flora_P.${i}`)].map((n) => p[n].arraySync() as never) as unknown as [number[][][][], number[][], number[][], number[][], number[][]];
    const delta = weightDelta(site, flora.weightChange!(site, p as never, { ranks: [], scale: 2, dropout: 0 })).arraySync() as number[][][][];
    for (const [o, i, h, w] of [[0, 0, 0, 0], [5, 11, 2, 1], [15, 3, 1, 2]]) {
      let sum = 0;
      G.forEach((Ga, a) => Ga.forEach((Gb, b) => Gb.forEach((Gc, c) => Gc.forEach((g, d) => { sum += g * I[i][a] * O[o][b] * H[h][c] * W[w][d]; }))));
      assert.ok(Math.abs(delta[o][i][h][w] - 2 * sum) < 1e-4);
    }
  });

  test('a kernel of Tucker rank (2, 2, 1, 1) takes 74 numbers, and a convolution LoRA 320', () => {
    const p = factors([2, 2, 1, 1]);
    assert.equal(Object.values(p).reduce((n, t) => n + t.size, 0), 74);
    const { S } = svd(weightDelta(site, flora.weightChange!(site, p as never, { ranks: [], scale: 2, dropout: 0 })).dataSync() as Float32Array, 16, 144);
    assert.ok(S[1] > 1e-2 * S[0] && S[2] < 1e-5 * S[0], 'LoRA needs rank 2: 2·(144 + 16)');
    // As one 48×48 matrix, which some LoRAs of convolutions make of it, it is of rank 6: 6·(48 + 48) numbers, where rank 2, 192 numbers, leaves a part.
    const delta = weightDelta(site, flora.weightChange!(site, p as never, { ranks: [], scale: 2, dropout: 0 })).dataSync() as Float32Array, flat = svd(delta, 48, 48).S;
    assert.ok(flat[5] > 1e-3 * flat[0] && flat[6] < 1e-5 * flat[0] && Math.hypot(...flat.slice(2)) > 0.2 * Math.hypot(...flat), `${[...flat.slice(0, 8)]}`);
  });

  test('at the start the core alone has a gradient, and modes have no more rank than size', async () => {
    const b = await bench('resnet-basic');
    const graft = active(b, flora, fresh(b, flora, { targetModules: ['/.*convolution/'] }), true);
    const grads = gradients(b, graft);
    const first = b.model.sites.find((s) => s.kind === 'conv' && graft.tensors.has(`${s.name}.flora_G`))!;
    assert.deepEqual(graft.tensors.get(`${first.name}.flora_G`)!.shape, [Math.min(16, first.dimIn), Math.min(16, first.dimOut), ...first.conv!.kernel.map((k) => Math.min(2, k))]);
    for (const [name, g] of grads) assert.equal(norm(g) > 0, name.endsWith('flora_G'), name);
    b.checkpoint.close();
  });

  test('factors start as Kaiming with a = √3 has them', async () => {
    const b = await bench('bert-classify');
    const graft = active(b, flora, fresh(b, flora, { ranks: [8, 2], targetModules: ['all-linear'] }));
    const all = (end: string): number[] => [...graft.tensors].filter(([n]) => n.endsWith(end)).flatMap(([, t]) => [...t.dataSync()]);
    for (const [end, r] of [['P.0', 8], ['P.1', 2]] as const) {
      const values = all(end);
      assert.ok(Math.abs(Math.sqrt(values.reduce((s, v) => s + v * v, 0) / values.length) / Math.sqrt(0.5 / r) - 1) < 0.1);
    }
    assert.equal(maxDifference(all('flora_G'), all('flora_G').map(() => 0)), 0);
    b.checkpoint.close();
  });

  test('ranks that are none are refused', async () => {
    const b = await bench('bert-classify');
    for (const ranks of [[3], [3, 2, 1], [3, 0], [2.5, 2]]) assert.throws(() => fresh(b, flora, { ranks }), /two or four whole numbers, at least 1: IN,OUT,KH,KW/);
    b.checkpoint.close();
  });
});
