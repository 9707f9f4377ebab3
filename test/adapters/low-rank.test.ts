import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { qr, Rng, svd, tf, untracked, useBackend, type Scalar, type Tensor, type Tensor1D, type Tensor2D } from '@graft/kernels';
import adalora from '../../src/adapters/adalora.js';
import { budgetAt } from '../../src/adapters/adalora-budget.js';
import codyra from '../../src/adapters/codyra.js';
import dora from '../../src/adapters/dora.js';
import dsee from '../../src/adapters/dsee.js';
import flora from '../../src/adapters/flora.js';
import hydra from '../../src/adapters/hydra.js';
import ia3 from '../../src/adapters/ia3.js';
import { ownedTensors, toGraft } from '../../src/adapters/instantiate.js';
import increlora from '../../src/adapters/increlora.js';
import loha from '../../src/adapters/loha.js';
import lokr from '../../src/adapters/lokr.js';
import lora from '../../src/adapters/lora.js';
import { overOutputs, weightDelta } from '../../src/adapters/low-rank.js';
import type { Method, Params } from '../../src/adapters/method.js';
import poly, { type PolyConfig } from '../../src/adapters/poly.js';
import { torchUniform } from '../../src/adapters/torch-random.js';
import triadaptlora from '../../src/adapters/triadaptlora.js';
import vera from '../../src/adapters/vera.js';
import { GraftError } from '../../src/errors.js';
import type { Graft } from '../../src/formats/graft.js';
import { unrouted } from '../../src/merging/unroute.js';
import { Forward } from '../../src/models/forward.js';
import { maxDifference } from '../models/golden.js';
import { active, bench, fresh, gradients, hookCall, logits, merged, norm, randomised, type Bench } from './support.js';

type Any = Method<any>; // eslint-disable-line @typescript-eslint/no-explicit-any

before(() => useBackend('auto'));

const route = (b: Bench, ...tasks: string[]): { route: { task: string[] } } => ({ route: { task: b.golden.input_ids!.map((_, i) => tasks[i % tasks.length]) } });

describe('gradients are the slopes of the loss', () => {
  const cases: [Any, Record<string, unknown>, string][] = [
    [adalora, { rank: 2 }, 'bert-classify'], [vera, { rank: 3, targetModules: ['query', 'output.dense'] }, 'bert-classify'], [ia3, {}, 'gpt2-classify'], [loha, { rank: 2 }, 'bert-classify'],
    [loha, { rank: 5 }, 'gpt2-classify'], [lokr, { rank: 1 }, 'bert-classify'], [increlora, { rank: 2, targetRank: 4 }, 'gpt2-classify'], [triadaptlora, { rank: 3 }, 'gpt2-classify'],
    [codyra, { rank: 3 }, 'bert-classify'], [hydra, { parRank: 2, seqRank: 2, bias: true }, 'gpt2-classify'],
    [poly, { rank: 2, skills: 2, splits: 2, tasks: ['a', 'b'] }, 'bert-classify'],
    [flora, { ranks: [3, 2] }, 'bert-classify'], [dsee, { rank: 2, sparse: 0 }, 'gpt2-classify'], [lora, { rank: 2 }, 'bert-classify'],
  ];
  for (const [method, config, name] of cases) {
    test(`${method.name} ${JSON.stringify(config)} on ${name}`, async () => {
      const b = await bench(name);
      const graft = active(b, method, randomised(fresh(b, method, config), 0.3), true);
      const routed = method === poly ? route(b, 'a', 'b') : {};
      const loss = (): Scalar => tf.tidy(() => {
        const f = new Forward(b.model.sites, b.checkpoint, [graft], routed);
        const value = tf.mean(tf.square(b.model.logits(f, b.model.backbone(f, b.batch), b.head)));
        const penalty = method.penalty?.(graft.tensors, graft.config);
        return (penalty ? tf.add(value, penalty) : value) as Scalar;
      });
      const names = [...graft.trained.keys()];
      const { grads } = tf.variableGrads(loss, [...graft.trained.values()]);
      for (const key of [names[0], names[1], names[2] ?? names[0], names.at(-1)!]) slope(graft.trained.get(key)!, grads[graft.trained.get(key)!.name], () => loss().dataSync()[0], key);
      b.checkpoint.close();
    });
  }
});

/** At convolutions, behind which ReLU leaves slopes no finite step can measure: the weight formed on the tape gives the same gradients. */
describe('gradients at convolutions are those of the weight formed', () => {
  const cases: [Any, Record<string, unknown>][] = [
    [adalora, { rank: 2 }], [increlora, { rank: 1, reserve: 1 }], [loha, { rank: 2 }], [loha, { rank: 2, effectiveConv: true }], [loha, { rank: 6 }], [lokr, { rank: 1 }], [lokr, { rank: 1, effectiveConv: true }], [ia3, { feedforwardModules: ['/.*layer\\.1\\.convolution/'] }],
    [flora, { ranks: [3, 2, 2, 1], dropout: 0 }],
    [triadaptlora, { rank: 2 }],
    [codyra, { rank: 2 }],
  ];
  for (const [method, config] of cases) {
    test(`${method.name} ${JSON.stringify(config)}`, async () => {
      const b = await bench('resnet-basic');
      const graft = randomised(fresh(b, method, { targetModules: ['/.*layer\\.\\d\\.convolution/'], ...config }), 0.3);
      const formed: Any = {
        ...method, change: undefined, weightChange: undefined,
        reweight: (site, W, p, c) => (method.fold ? method.fold(site, { W, b: null }, { W, b: null }, p, c).W : tf.add(W, weightDelta(site, method.weightChange!(site, p, c)))),
      };
      const [own, whole] = [method, formed].map((m) => gradients(b, active(b, m, graft, true)));
      for (const [key, g] of own) assert.ok(norm(g) > 0 && norm(tf.sub(g, whole.get(key)!)) < 1e-4 * norm(g), key);
      b.checkpoint.close();
    });
  }
});

/** The derivative of the loss along the gradient and a random direction together. */
function slope(v: tf.Variable, gradient: Tensor, loss: () => number, name: string): void {
  const rng = new Rng('direction', name);
  const random = tf.tensor(Float32Array.from({ length: v.size }, () => rng.normal(0, 1 / Math.sqrt(v.size))), v.shape);
  const direction = tf.add(tf.div(gradient, tf.norm(gradient)), random), start = tf.clone(v);
  const at = (t: number): number => {
    v.assign(tf.add(start, tf.mul(direction, t)));
    return loss();
  };
  // A long step meets kinks of ReLU, a short one rounding: one of them sees the slope.
  const measured = [3e-3, 1e-3, 2e-4].map((h) => (at(h) - at(-h)) / (2 * h)), expected = tf.sum(tf.mul(direction, gradient)).dataSync()[0];
  v.assign(start);
  assert.ok(measured.some((m) => Math.abs(m - expected) < 0.02 * Math.abs(expected) + 1e-4), `${name}: ${measured}, by the gradient ${expected}`);
}

describe('dora', () => {
  /** W' = m ∘ V/‖V‖ with the weight formed, its norm part of the derivative or not. */
  const formed = (through: boolean): Any => ({
    ...dora, change: undefined,
    reweight(site, W, p, config) {
      const V = tf.add(W, weightDelta(site, lora.weightChange!(site, p, config as never)));
      const norms = (): Tensor => tf.sqrt(tf.sum(tf.square(V), site.transposed ? 0 : 1));
      return tf.mul(V, overOutputs(site, tf.div(p.lora_magnitude_vector, through ? norms() : untracked(norms))));
    },
  });

  for (const name of ['bert-classify', 'gpt2-classify']) {
    test(`on ${name} values and gradients are those of the weight formed, its norm held constant`, async () => {
      const b = await bench(name);
      const graft = randomised(fresh(b, dora, { rank: 2, alpha: 3 }), 0.3);
      const [mine, theirs, through] = [dora, formed(false), formed(true)].map((method) => active(b, method, graft, true));
      assert.ok(maxDifference(logits(b, [mine]), logits(b, [theirs])) < 1e-5);
      const [own, held, whole] = [mine, theirs, through].map((g) => gradients(b, g));
      for (const [key, g] of own) {
        assert.ok(norm(tf.sub(g, held.get(key)!)) < 1e-4 * norm(g) + 1e-7, key);
        if (key.includes('lora_B')) assert.ok(norm(tf.sub(g, whole.get(key)!)) > 1e-3 * norm(g), `${key}: the norm takes no part`);
      }
    });
  }

  test('with dropout the frozen product of the dropped input is rescaled', async () => {
    const b = await bench('bert-classify');
    const graft = active(b, dora, randomised(fresh(b, dora, { dropout: 0.5 })));
    const noisy = logits(b, [graft], { train: true, seed: 1 });
    assert.ok(maxDifference(noisy, logits(b, [graft])) > 1e-4);
    assert.equal(maxDifference(noisy, logits(b, [graft], { train: true, seed: 1 })), 0);
    const still = active(b, dora, fresh(b, dora, { dropout: 0.5 }));
    assert.ok(maxDifference(logits(b, [still], { train: true, seed: 1 }), logits(b)) < 1e-5, 'the identity at the start, whatever is dropped');
  });

  test('grafts on one another merge as they run', async () => {
    const b = await bench('bert-classify');
    const [first, second, third] = [randomised(fresh(b, lora, { rank: 2, loraBias: true })), randomised(fresh(b, dora, { rank: 2 })), randomised(fresh(b, ia3, { targetModules: ['query', 'key'] }), 0.5)];
    const run = logits(b, [active(b, lora, first), active(b, dora, second), active(b, ia3, third)]);
    assert.ok(maxDifference(logits(b, [], {}, b.batch, await merged(b, [first, second, third])), run) < 1e-5);
  });
});

describe('adalora', () => {
  test('the budget falls on a cubic curve', () => {
    const at = (step: number): number => budgetAt(step, 100, 120, 80, { tinit: 10, tfinal: 20 });
    assert.deepEqual([1, 10, 45, 80, 81, 100].map(at), [120, 120, 85, 80, 80, 80]);
  });

  /** Runs `steps` of the hook alone, with gradients drawn anew at each, and gives the graft as stored at the end. */
  async function allocated(b: Bench, config: Record<string, unknown>, steps: number, rates: (site: string) => number): Promise<{ graft: Graft; kept: number[]; unpruned: Float32Array }> {
    const start = randomised(fresh(b, adalora, config), 0.3);
    const run = active(b, adalora, start, true);
    const kept: number[] = [];
    for (let step = 1; step <= steps; step++) {
      const grads = new Map([...run.trained].map(([name, v]) => {
        const rng = new Rng('gradient', step, name);
        return [name, tf.tensor(Float32Array.from({ length: v.size }, () => rng.normal(0, rates(name))), v.shape)];
      }));
      adalora.afterStep!(hookCall(run.tensors, { step, totalSteps: steps, grads }), run.config as never);
      run.bind();
      kept.push([...run.trained].filter(([n]) => n.endsWith('lora_E')).reduce((n, [, E]) => n + [...E.dataSync()].filter((e) => e !== 0).length, 0));
    }
    return { graft: toGraft(run, start), kept, unpruned: logits(b, [run]) };
  }

  test('triplets of least importance go, as many as the budget says, and what is stored computes the same', async () => {
    const b = await bench('bert-classify');
    // The queries matter little: they lose everything.
    const { graft, kept, unpruned } = await allocated(b, { rank: 4, targetRank: 2, tinit: 2, tfinal: 3 }, 12, (name) => (name.includes('query') ? 1e-3 : 1));
    const sites = adalora.sites(b.model, graft.config as never).length;
    assert.deepEqual(kept, Array.from({ length: 12 }, (_, i) => budgetAt(i + 1, 12, 4 * sites, 2 * sites, { tinit: 2, tfinal: 3 })));
    const ranks = new Map([...graft.tensors].filter(([n]) => n.endsWith('lora_A')).map(([n, t]) => [n, t.shape[0]]));
    assert.equal([...ranks.values()].reduce((x, y) => x + y), 2 * sites);
    for (const [name, r] of ranks) if (name.includes('query')) assert.equal(r, 0, name);
    assert.equal(graft.config.allocated, true);
    assert.equal(graft.tensors.size, 3 * sites, 'averages and masks are not stored');
    assert.ok(maxDifference(logits(b, [active(b, adalora, graft)]), unpruned) < 1e-6);
    assert.ok(maxDifference(logits(b, [], {}, b.batch, await merged(b, [graft])), unpruned) < 1e-5, 'a rank of zero merges, too');
  });

  test('a run too short for its schedule is refused', async () => {
    const b = await bench('bert-classify');
    await assert.rejects(allocated(b, { rank: 2, tinit: 5, tfinal: 5 }, 10, () => 1), (e) => e instanceof GraftError && e.status === 64 && /--tinit 5 and --tfinal 5/.test(e.message));
  });

  test('orthogonal factors cost nothing', () => {
    const { Q } = qr(Float64Array.from({ length: 40 }, (_, i) => Math.sin(i * i)), 10, 4);
    const B = tf.tensor2d(Float32Array.from(Q), [10, 4]);
    const penalty = (scale: number): number => adalora.penalty!(new Map([['x.lora_A', tf.mul(tf.transpose(B), scale)], ['x.lora_B', B], ['x.lora_E', tf.ones([4, 1])]]), { orthogonality: 0.5 } as never)!.dataSync()[0];
    assert.ok(penalty(1) < 1e-6);
    assert.ok(Math.abs(penalty(2) - 0.5 * 0.5 * 3 * 2) < 1e-5, '‖4I − I‖ = 6, half of the mean of two');
  });
});

describe('vera', () => {
  test('all sites share one pair, which is no part of what is trained', async () => {
    const b = await bench('bert-classify');
    const graft = fresh(b, vera, { rank: 6, targetModules: ['all-linear'] });
    const names = [...graft.tensors.keys()].filter((n) => !n.includes('lambda'));
    assert.deepEqual(names.sort(), ['vera_A', 'vera_B']);
    const sites = b.model.sites.filter((s) => s.kind === 'linear' && s.role !== 'head');
    assert.deepEqual(graft.tensors.get('vera_A')!.shape, [6, Math.max(...sites.map((s) => s.dimIn))]);
    assert.deepEqual(graft.tensors.get('vera_B')!.shape, [Math.max(...sites.map((s) => s.dimOut)), 6]);
  });

  test('without its pair a graft draws it from the seed, and leaves it out when stored', async () => {
    const b = await bench('bert-classify');
    const [whole, lean] = [true, false].map((saveProjection) => {
      const graft = fresh(b, vera, { rank: 6, projectionKey: 5, saveProjection });
      for (const [name, t] of randomised(graft).tensors) if (name.includes('lambda')) graft.tensors.set(name, t);
      return graft;
    });
    assert.ok(whole.tensors.has('vera_A') && !lean.tensors.has('vera_A'));
    const run = active(b, vera, lean);
    assert.equal(maxDifference(logits(b, [run]), logits(b, [active(b, vera, whole)])), 0);
    assert.equal(maxDifference(logits(b, [], {}, b.batch, await merged(b, [lean])), logits(b, [], {}, b.batch, await merged(b, [whole]))), 0);
    assert.ok(!toGraft(run, lean).tensors.has('vera_A'));
  });

  // torch.empty(4).uniform_(-1, 1, generator=torch.Generator().manual_seed(seed))
  test("the generator is PyTorch's", () => {
    assert.ok(maxDifference(torchUniform(0, 0, 4, 1), [-0.007486820220947266, 0.5364435911178589, -0.8230451345443726, -0.7359390258789062]) < 1e-7);
    assert.ok(maxDifference(torchUniform(7, 0, 4, 1), [0.06984508037567139, -0.602393627166748, 0.31842339038848877, 0.3137805461883545]) < 1e-7);
    assert.deepEqual(torchUniform(7, 700, 3, 2), torchUniform(7, 0, 703, 2).slice(700));
  });

  test('convolutions have no form', async () => {
    const b = await bench('resnet-basic');
    assert.throws(() => fresh(b, vera, { targetModules: ['/.*convolution/'] }), (e) => e instanceof GraftError && e.status === 64 && /it changes linear modules/.test(e.message));
  });
});

describe('hydra', () => {
  test('the weights it merges into, its bias among them', () => {
    const matrix = (rows: number, columns: number, seed: string): Tensor2D => {
      const rng = new Rng('hydra', seed);
      return tf.tensor2d(Float32Array.from({ length: rows * columns }, () => rng.normal()), [rows, columns]);
    };
    const [out, width] = [16, 64], site = { name: 's', kind: 'linear', dimIn: width, dimOut: out, bias: 's.bias' } as never;
    // Of a change R W + z uᵀ of rank 5, with u outside the rows of W, one parallel and four sequential ranks are all.
    const W = tf.concat([matrix(out, width - 1, 'W'), tf.zeros([out, 1])], 1), b = tf.reshape(matrix(1, out, 'b'), [out]) as Tensor1D;
    const [left, right, z] = [matrix(out, 4, 'left'), matrix(4, out, 'right'), matrix(out, 1, 'z')];
    const u = tf.concat([tf.zeros([1, width - 1]), tf.fill([1, 1], 60)], 1);
    const change = tf.add(tf.matMul(tf.matMul(left, right), W), tf.matMul(z, u));
    const config = { parRank: 1, seqRank: 4, scale: 1, bias: false, init: 'kaiming' } as never;
    const folded = hydra.fold!(site, { W, b }, { W, b }, { par_A: u, par_B: z, seq_A: right, seq_B: left }, config);
    assert.ok(norm(tf.sub(tf.sub(folded.W, W), change)) < 1e-5 * norm(change));
    assert.ok(norm(tf.sub(tf.sub(folded.b!, b), tf.reshape(tf.matMul(left, tf.matMul(right, tf.reshape(b, [out, 1]))), [out]))) < 1e-4, 'the sequential branch sees the bias');
    assert.equal(hydra.params(site, config, null as never).reduce((n, s) => n + s.shape[0] * s.shape[1], 0), 208);
    // LoRA of three ranks has 240 numbers.
    const { S } = svd(change.dataSync() as Float32Array, out, width), tail = (from: number): number => Math.sqrt(S.slice(from).reduce((n, s) => n + s * s, 0));
    assert.ok(tail(3) > 0.2 * tail(0) && norm(tf.matMul(z, u)) > 0.4 * tail(0), 'nor would the sequential branch alone do');
    const biased = { par_A: u, par_B: z, 'par_A.bias': tf.tensor1d([2]), 'par_B.bias': tf.ones([out]), seq_A: right, seq_B: left, 'seq_A.bias': tf.tensor1d([1, 0, 0, -1]), 'seq_B.bias': tf.fill([out], 3) };
    const shifted = tf.sub(hydra.fold!(site, { W, b }, { W, b }, biased, config).b!, folded.b!);
    const expected = tf.add(tf.add(tf.mul(tf.reshape(z, [out]), 2), 4), tf.reshape(tf.matMul(left, tf.tensor2d([1, 0, 0, -1], [4, 1])), [out]));
    assert.ok(norm(tf.sub(shifted, expected)) < 1e-4);
  });

  test('dropout lies between the matrices, in training alone', async () => {
    const b = await bench('bert-classify');
    const graft = active(b, hydra, randomised(fresh(b, hydra, { dropout: 0.5 })));
    const noisy = logits(b, [graft], { train: true, seed: 1 });
    assert.ok(maxDifference(noisy, logits(b, [graft])) > 1e-4);
    assert.equal(maxDifference(noisy, logits(b, [graft], { train: true, seed: 1 })), 0);
  });

  test('what it has no form for is refused', async () => {
    const [bert, llama, resnet] = await Promise.all(['bert-classify', 'llama-clm', 'resnet-basic'].map(bench));
    const refuses = (b: Bench, config: object, message: RegExp): void => assert.throws(() => fresh(b, hydra, config as never), (e) => e instanceof GraftError && e.status === 64 && message.test(e.message));
    refuses(bert, { parRank: 0, seqRank: 0 }, /leave nothing to train/);
    refuses(llama, { bias: true }, /has no bias to merge/);
    refuses(resnet, {}, /has no feed-forward modules/);
  });
});

describe('ia3', () => {
  test('a model whose modules are not known must name them', async () => {
    const b = await bench('resnet-basic');
    assert.throws(() => fresh(b, ia3), (e) => e instanceof GraftError && e.status === 64 && /name them with --target-modules/.test(e.message));
  });
});

describe('loha and lokr', () => {
  const site = { name: 's', kind: 'linear', dimIn: 20, dimOut: 18 } as never;
  const random = (method: Any, config: object): Params => Object.fromEntries(method.params(site, config as never, null as never).map((s) => {
    const rng = new Rng(s.name);
    return [s.name, tf.tensor(Float32Array.from({ length: s.shape.reduce((a, b) => a * b) }, () => rng.normal()), s.shape)];
  }));

  test('the Hadamard product of two matrices of rank r has rank r²', () => {
    const config = { rank: 3, alpha: 3 };
    const p = random(loha, config);
    const delta = weightDelta(site, loha.weightChange!(site, p, config as never));
    const formed = tf.mul(tf.matMul(p.hada_w1_a, p.hada_w1_b), tf.matMul(p.hada_w2_a, p.hada_w2_b));
    assert.ok(maxDifference(delta.dataSync() as Float32Array, formed.dataSync() as Float32Array) < 1e-5);
    const { S } = svd(delta.dataSync() as Float32Array, 18, 20);
    assert.ok(S[8] > 1e-2 && S[9] < 1e-4, `${[...S]}`);
  });

  test('a Kronecker product, entry by entry', () => {
    const config = { rank: 8, alpha: 8, decomposeFactor: -1 };
    const four = { ...(site as object), dimIn: 4, dimOut: 4 } as never;
    const p = { lokr_w1: tf.tensor2d([[1, 2], [3, 4]]), lokr_w2: tf.tensor2d([[0, 5], [6, 7]]) };
    const zero = { W: tf.zeros([4, 4]), b: null };
    const { W } = lokr.fold!(four, zero, zero, p, config as never);
    assert.deepEqual(W.arraySync(), [[0, 5, 0, 10], [6, 7, 12, 14], [0, 15, 0, 20], [18, 21, 24, 28]]);
  });

  test('rank dropout takes outputs, module dropout whole modules, in training alone', async () => {
    const b = await bench('bert-classify');
    for (const method of [loha, lokr] as Any[]) {
      for (const config of [{ rankDropout: 0.5 }, { moduleDropout: 0.5 }]) {
        const graft = active(b, method, randomised(fresh(b, method, { rank: 2, ...config })));
        const noisy = logits(b, [graft], { train: true, seed: 3 });
        assert.ok(maxDifference(noisy, logits(b, [graft])) > 1e-4);
        assert.equal(maxDifference(noisy, logits(b, [graft], { train: true, seed: 3 })), 0);
      }
      const off = active(b, method, randomised(fresh(b, method, { rank: 2, moduleDropout: 1 })));
      assert.ok(maxDifference(logits(b, [off], { train: true }), logits(b)) < 1e-6);
    }
  });
});

describe('poly', () => {
  const options = { rank: 2, skills: 3, splits: 2, tasks: ['a', 'b', 'c'] };

  test('a new one is the identity, one skill is LoRA with alpha 1, equal logits are equal weights', async () => {
    const b = await bench('bert-classify');
    assert.equal(maxDifference(logits(b, [active(b, poly, fresh(b, poly, options))], route(b, 'a', 'c')), logits(b)), 0);
    const single = randomised(fresh(b, poly, { rank: 2, skills: 1, tasks: ['a'] }));
    const plain = unrouted(single, 'a');
    assert.equal(plain.config.alpha, 1);
    assert.ok(maxDifference(logits(b, [active(b, lora, plain)]), logits(b, [active(b, poly, single)], route(b, 'a'))) < 1e-6);
    const even = randomised(fresh(b, poly, options));
    for (const [name, t] of even.tensors) if (name.includes('router')) even.tensors.set(name, { ...t, data: new Uint8Array(t.data.length) });
    assert.ok(maxDifference(logits(b, [active(b, lora, unrouted(even, null))]), logits(b, [active(b, poly, even)], route(b, 'b'))) < 1e-6);
  });

  test('each row goes by its task, and a task fixed is the plain LoRA it is', async () => {
    const b = await bench('bert-classify');
    const graft = randomised(fresh(b, poly, options), 0.4);
    const run = active(b, poly, graft), C = b.head.labels!.length, rows = b.golden.input_ids!.length;
    const mixed = logits(b, [run], route(b, 'c', 'a', 'b'));
    for (let i = 0; i < rows; i++) {
      const task = ['c', 'a', 'b'][i % 3];
      const fixed = logits(b, [active(b, lora, unrouted(graft, task))]).slice(i * C, (i + 1) * C);
      assert.ok(maxDifference(mixed.slice(i * C, (i + 1) * C), fixed) < 1e-5, task);
    }
    assert.ok(maxDifference(logits(b, [run], route(b, 'a')), logits(b, [run], route(b, 'b'))) > 1e-3);
    assert.ok(maxDifference(logits(b, [], {}, b.batch, await merged(b, [unrouted(graft, 'a')])), logits(b, [run], route(b, 'a'))) < 1e-5);
  });

  test('sampled weights act in training alone, by the seed', async () => {
    const b = await bench('bert-classify');
    const run = active(b, poly, randomised(fresh(b, poly, { ...options, router: 'relaxed' }), 0.4));
    const noisy = logits(b, [run], { ...route(b, 'a', 'b'), train: true, seed: 1 });
    assert.ok(maxDifference(noisy, logits(b, [run], route(b, 'a', 'b'))) > 1e-4);
    assert.equal(maxDifference(noisy, logits(b, [run], { ...route(b, 'a', 'b'), train: true, seed: 1 })), 0);
  });

  test('what does not fit is refused', async () => {
    const b = await bench('bert-classify');
    const refuses = (f: () => unknown, status: number, message: RegExp): void => assert.throws(f, (e) => e instanceof GraftError && e.status === status && message.test(e.message));
    refuses(() => fresh(b, poly, { rank: 2 }), 64, /--tasks is missing/);
    refuses(() => fresh(b, poly, { ...options, tasks: ['a', 'a'] }), 64, /stands twice/);
    refuses(() => fresh(b, poly, { ...options, splits: 5 }), 64, /--splits 5 does not divide/);
    const run = active(b, poly, fresh(b, poly, options));
    refuses(() => logits(b, [run]), 65, /no column task/);
    refuses(() => logits(b, [run], route(b, 'z')), 65, /task 'z' is none/);
    refuses(() => unrouted(fresh(b, poly, options), 'z'), 64, /--task z is none/);
    refuses(() => unrouted(fresh(b, lora), 'a'), 64, /for poly grafts/);
    await assert.rejects(merged(b, [fresh(b, poly, options)]), (e) => e instanceof GraftError && /depends on the task of each row; graft merge --task/.test(e.message));
  });

  test('only rows of tasks in the batch have a gradient; the router learns faster, without decay', async () => {
    const b = await bench('bert-classify');
    const graft = active(b, poly, randomised(fresh(b, poly, options)), true);
    const router = [...graft.trained.keys()].find((n) => n.endsWith('module_logits'))!;
    const { grads } = tf.variableGrads(() => {
      const f = new Forward(b.model.sites, b.checkpoint, [graft], route(b, 'a', 'c'));
      return tf.mean(tf.square(b.model.logits(f, b.model.backbone(f, b.batch), b.head))) as Scalar;
    }, [graft.trained.get(router)!]);
    const rows = (tf.sum(tf.abs(grads[graft.trained.get(router)!.name] as Tensor2D), 1).arraySync() as number[]).map((v) => v > 0);
    assert.deepEqual(rows, [true, false, true]);
    const { decay, lrScale } = ownedTensors(poly as Any, graft.config as PolyConfig & Record<string, unknown>, b.model, null, { names: () => [], shape: () => undefined }).get(router)!;
    assert.deepEqual([decay, lrScale], [false, 100]);
  });
});

test('LoRA+: B learns faster', async () => {
  const b = await bench('bert-classify');
  const specs = lora.params(b.model.sites.find((s) => s.role === 'query')!, { ...fresh(b, lora, { lrRatio: 16, loraBias: true }).config } as never, b.model);
  assert.deepEqual(specs.map((s) => [s.name, s.lrScale]), [['lora_A.weight', undefined], ['lora_B.weight', 16], ['lora_B.bias', 16]]);
});
