import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { tf, useBackend, type Tensor } from '@graft/kernels';
import adalora from '../../src/adapters/adalora.js';
import bitfit from '../../src/adapters/bitfit.js';
import bottleneck from '../../src/adapters/bottleneck.js';
import codyra from '../../src/adapters/codyra.js';
import dora from '../../src/adapters/dora.js';
import dsee from '../../src/adapters/dsee.js';
import flora from '../../src/adapters/flora.js';
import full from '../../src/adapters/full.js';
import hydra from '../../src/adapters/hydra.js';
import ia3 from '../../src/adapters/ia3.js';
import { countParameters, toGraft } from '../../src/adapters/instantiate.js';
import increlora from '../../src/adapters/increlora.js';
import linear from '../../src/adapters/linear.js';
import loha from '../../src/adapters/loha.js';
import lokr from '../../src/adapters/lokr.js';
import lora from '../../src/adapters/lora.js';
import type { Method } from '../../src/adapters/method.js';
import pixelPrompt from '../../src/adapters/pixel-prompt.js';
import prefix from '../../src/adapters/prefix.js';
import prompt from '../../src/adapters/prompt.js';
import spm from '../../src/adapters/spm.js';
import triadaptlora from '../../src/adapters/triadaptlora.js';
import vera from '../../src/adapters/vera.js';
import { maxDifference } from '../models/golden.js';
import { active, bench, fresh, gradients, logits, merged, norm, randomised, step, type Bench } from './support.js';

type Any = Method<any>; // eslint-disable-line @typescript-eslint/no-explicit-any

/** Every method with the models it is tried on, and whether it starts as the identity. */
const CASES: { method: Any; config?: Record<string, unknown>; models: string[]; identity: boolean }[] = [
  { method: full, models: ['bert-classify', 'resnet-basic'], identity: true },
  { method: bitfit, models: ['bert-classify', 'gpt2-clm', 'vit-classify'], identity: true },
  { method: linear, models: ['bert-classify', 'resnet-basic'], identity: true },
  { method: lora, models: ['bert-classify', 'gpt2-clm', 'llama-clm', 'vit-classify'], identity: true },
  { method: lora, config: { targetModules: ['all-linear'], rank: 3, alpha: 5, rslora: true, loraBias: true }, models: ['roberta-classify', 'gpt2-clm', 'qwen2-clm'], identity: true },
  { method: lora, config: { targetModules: ['word_embeddings', 'key'], rank: 2, rankPattern: ['layer.0.attention.self.key=5'], alphaPattern: ['key=3'] }, models: ['bert-classify'], identity: true },
  { method: lora, config: { targetModules: ['/.*convolution/'], rank: 3, alpha: 6 }, models: ['resnet-basic', 'resnet-bottleneck'], identity: true },
  { method: dora, config: { rank: 3, alpha: 5 }, models: ['bert-classify', 'gpt2-clm', 'llama-clm'], identity: true },
  { method: dora, config: { targetModules: ['word_embeddings', 'key', 'dense'], rank: 2 }, models: ['bert-classify'], identity: true },
  { method: dora, config: { targetModules: ['/.*convolution/'], rank: 2 }, models: ['resnet-basic'], identity: true },
  { method: adalora, config: { rank: 3 }, models: ['bert-classify', 'gpt2-clm', 'roberta-classify'], identity: true },
  { method: adalora, config: { targetModules: ['/.*convolution/'], rank: 2 }, models: ['resnet-basic'], identity: true },
  { method: increlora, config: { rank: 2, targetRank: 4 }, models: ['bert-classify'], identity: true },
  { method: increlora, config: { rank: 3, targetRank: 4, advance: false }, models: ['gpt2-clm'], identity: true },
  { method: increlora, config: { targetModules: ['/.*convolution/'], advance: false, scaleBy: 'target' }, models: ['resnet-basic'], identity: true },
  { method: triadaptlora, config: { rank: 2 }, models: ['bert-classify', 'gpt2-clm'], identity: true },
  { method: triadaptlora, config: { targetModules: ['/.*convolution/'] }, models: ['resnet-basic'], identity: true },
  { method: codyra, config: { rank: 3 }, models: ['bert-classify', 'gpt2-clm'], identity: true },
  { method: codyra, config: { targetModules: ['/.*convolution/'], rank: 2 }, models: ['resnet-basic'], identity: true },
  { method: hydra, models: ['gpt2-clm', 'llama-clm'], identity: true },
  { method: hydra, config: { parRank: 2, seqRank: 3, bias: true, init: 'xavier', scale: 0.5 }, models: ['bert-classify', 'vit-classify'], identity: true },
  { method: hydra, config: { parRank: 0, init: 'normal' }, models: ['bert-classify'], identity: true },
  { method: vera, config: { rank: 5, targetModules: ['all-linear'] }, models: ['bert-classify', 'gpt2-clm', 'llama-clm'], identity: true },
  { method: ia3, models: ['bert-classify', 'gpt2-clm', 'llama-clm', 'qwen2-clm', 'vit-classify'], identity: true },
  { method: ia3, config: { targetModules: ['/.*convolution/'], feedforwardModules: ['/.*layer\\.1\\.convolution/'] }, models: ['resnet-basic'], identity: true },
  { method: loha, config: { rank: 2, alpha: 5 }, models: ['bert-classify', 'gpt2-clm'], identity: true },
  { method: loha, config: { rank: 6, targetModules: ['all-linear'] }, models: ['llama-clm'], identity: true },
  { method: loha, config: { rank: 2, effectiveConv: true, targetModules: ['/.*convolution/'] }, models: ['resnet-basic'], identity: true },
  { method: loha, config: { rank: 6, targetModules: ['/.*convolution/'] }, models: ['resnet-basic'], identity: true },
  { method: lokr, config: { rank: 2, alpha: 3, targetModules: ['all-linear'] }, models: ['bert-classify', 'gpt2-clm'], identity: true },
  { method: lokr, config: { rank: 1, decomposeBoth: true, decomposeFactor: 8, init: 'lycoris' }, models: ['bert-classify'], identity: true },
  { method: lokr, config: { rank: 1, effectiveConv: true, targetModules: ['/.*convolution/'] }, models: ['resnet-basic', 'resnet-bottleneck'], identity: true },
  { method: bottleneck, config: { preset: 'houlsby', width: 4 }, models: ['bert-classify', 'llama-clm'], identity: false },
  { method: bottleneck, config: { preset: 'pfeiffer', width: 4, norm: 'out' }, models: ['bert-classify'], identity: false },
  { method: bottleneck, config: { preset: 'parallel', norm: 'in' }, models: ['bert-classify', 'gpt2-clm'], identity: true },
  { method: bottleneck, config: { preset: 'scaled-parallel', scaling: 'channel' }, models: ['bert-classify'], identity: true },
  { method: bottleneck, config: { preset: 'adaptformer', width: 5 }, models: ['vit-classify', 'llama-clm'], identity: true },
  { method: prefix, config: { tokens: 3 }, models: ['bert-classify', 'gpt2-clm', 'llama-clm', 'vit-classify'], identity: false },
  { method: prefix, config: { tokens: 3, projection: true, hidden: 7, init: 'zero' }, models: ['bert-classify', 'qwen2-clm'], identity: false },
  { method: pixelPrompt, models: ['vit-classify'], identity: true },
  { method: pixelPrompt, config: { size: 0.5, location: 'bottom-left' }, models: ['vit-classify'], identity: true },
  { method: prompt, config: { tokens: 2 }, models: ['bert-classify', 'gpt2-clm', 'llama-clm'], identity: false },
  { method: dsee, config: { rank: 2, sparse: 0, targetModules: ['all-linear'] }, models: ['bert-classify', 'gpt2-clm', 'llama-clm'], identity: true },
  { method: flora, config: { ranks: [3, 2] }, models: ['bert-classify', 'gpt2-clm', 'llama-clm'], identity: true },
  { method: flora, config: { ranks: [4, 3, 2, 1], targetModules: ['/.*convolution/'] }, models: ['resnet-basic', 'resnet-bottleneck'], identity: true },
  { method: lora, models: ['unet-attends', 'unet-linear'], identity: true },
  { method: lora, config: { targetModules: ['/.*(conv|conv1|conv2|conv_shortcut|time_emb_proj|proj_in|net\\.2)/'], rank: 2 }, models: ['unet-attends', 'unet-linear', 'unet-plain'], identity: true },
  { method: flora, config: { ranks: [4, 3, 2, 1], targetModules: ['/.*conv\\d?/'] }, models: ['unet-attends'], identity: true },
  { method: full, models: ['unet-attends', 'unet-plain'], identity: true },
  { method: spm, config: { permeability: 0.5 }, models: ['unet-attends', 'unet-linear'], identity: true },
  { method: spm, config: { permeability: 1, rank: 2, alpha: 3, targetModules: ['/.*(conv\\d?|time_emb_proj)/'] }, models: ['unet-plain'], identity: true },
];

const title = (method: Any, config: Record<string, unknown> | undefined, model: string): string => `${method.name} ${config ? JSON.stringify(config) : ''} on ${model}`;

before(() => useBackend('auto'));

describe('every method', () => {
  for (const { method, config, models, identity } of CASES) {
    for (const name of models) {
      test(title(method, config, name), async () => {
        const b = await bench(name);
        const base = logits(b);
        const head = method === linear ? b.head : null;
        const graft = fresh(b, method, config, { head });

        const start = active(b, method, graft, true);
        if (identity) assert.ok(maxDifference(logits(b, [start]), base) < 1e-6 * Math.max(1, ...base.map(Math.abs)), 'a new graft is the identity');
        await stepMovesOnlyTheGraft(b, method, start);
        start.dispose();

        const random = active(b, method, randomised(graft));
        const changed = logits(b, [random]);
        assert.ok(maxDifference(changed, base) > 1e-3, 'random values change the logits');
        const back = toGraft(random, graft);
        random.dispose();
        const again = active(b, method, back);
        assert.ok(maxDifference(logits(b, [again]), changed) < 1e-5, 'what is stored computes the same');
        if (method.weightChange || method.fold) assert.ok(maxDifference(logits(b, [], {}, b.batch, await merged(b, [back])), changed) < 1e-5 * Math.max(1, ...changed.map(Math.abs)), 'merged into the weights it computes the same');
        else if (method.replaced === undefined && method !== linear) assert.ok(method.unmergeable, 'merge is told why it cannot');
        again.dispose();
        b.checkpoint.close();
      });
    }
  }
});

/** After a step every base tensor has its bits, and every trained tensor that has a gradient has moved. */
async function stepMovesOnlyTheGraft(b: Bench, method: Any, graft: ReturnType<typeof active>): Promise<void> {
  const bits = (): string[] => b.checkpoint.names().map((n) => Buffer.from(b.checkpoint.tensor(n).dataSync().slice().buffer as ArrayBuffer).toString('base64'));
  const before = bits();
  const values = new Map([...graft.tensors].map(([n, t]) => [n, t.dataSync().slice()]));
  step(b, graft);
  assert.deepEqual(bits(), before);
  const moved = [...graft.tensors].filter(([n, t]) => maxDifference(t.dataSync() as Float32Array, values.get(n) as Float32Array) > 0).map(([n]) => n);
  assert.ok(moved.length > 0, `${method.name} trains something`);
  for (const name of moved) assert.ok(graft.trained.has(name) || /running_(mean|var)$/.test(name), `${name} is declared as trained`);
}

describe('lora', () => {
  test('at the start only B has a gradient', async () => {
    const b = await bench('bert-classify');
    const graft = active(b, lora, fresh(b, lora), true);
    for (const [name, g] of gradients(b, graft)) {
      if (name.includes('lora_A')) assert.equal(norm(g), 0);
      else assert.ok(norm(g) > 0, name);
    }
  });

  test('scales: α/r, α/√r, patterns', () => {
    const scale = (config: object): number => {
      const A = tf.zeros([1, 1]), site = { name: 'encoder.layer.1.attention.self.query', kind: 'linear' } as never;
      return lora.weightChange!(site, { 'lora_A.weight': A, 'lora_B.weight': A }, { rank: 64, alpha: 16, ...config } as never).scale;
    };
    assert.equal(scale({ rslora: false }), 0.25);
    assert.equal(scale({ rslora: true }), 2);
    assert.equal(scale({ rslora: false, rankPattern: ['self.query=4'] }), 4);
    assert.equal(scale({ rslora: false, rankPattern: ['query=4', 'layer.1.*=8'], alphaPattern: ['layer.\\d.attention.self.query=2'] }), 0.5);
    assert.equal(scale({ rslora: false, rankPattern: ['uery=4'] }), 0.25, 'a key matches whole path segments');
  });

  test('dropout acts in training alone and follows the seed', async () => {
    const b = await bench('bert-classify');
    const graft = active(b, lora, randomised(fresh(b, lora, { dropout: 0.5 })));
    const still = logits(b, [graft]);
    const noisy = logits(b, [graft], { train: true, seed: 1 });
    assert.ok(maxDifference(still, noisy) > 1e-4);
    assert.equal(maxDifference(noisy, logits(b, [graft], { train: true, seed: 1 })), 0);
  });
});

describe('bottleneck', () => {
  test('a zero up-projection is the identity, and at the start the gradient reaches W_u but not W_d', async () => {
    const b = await bench('bert-classify');
    const graft = active(b, bottleneck, fresh(b, bottleneck, { preset: 'pfeiffer', init: 'lora', width: 4 }), true);
    assert.equal(maxDifference(logits(b, [graft]), logits(b)), 0);
    const grads = gradients(b, graft);
    for (const [name, g] of grads) {
      if (name.includes('adapter_down')) assert.equal(norm(g), 0, name);
      else assert.ok(norm(g) > 0, name);
    }
  });

  test('postnorm reads unit statistics; models that normalise before refuse it', async () => {
    const site = { name: 'f', kind: 'ffn.output' } as never;
    const config = { read: 'postnorm', activation: 'none', scale: 1, scaling: 'constant', norm: 'none', dropout: 0 } as never;
    const eye = tf.eye(4), zero = tf.zeros([4]);
    const p = { 'adapter_down.weight': eye, 'adapter_down.bias': zero, 'adapter_up.weight': eye, 'adapter_up.bias': zero };
    const x = tf.tensor2d([[1, 2, 3, 5]]);
    const normed = (t: Tensor): Tensor => tf.div(tf.sub(t, tf.mean(t)), tf.sqrt(tf.moments(t).variance));
    const out = bottleneck.change!({ site, x, base: (z) => tf.mul(z, 2), stream: x, norm: normed, pass: { train: false } as never }, p, config);
    const read = tf.sub(out, tf.mul(x, 2));
    assert.ok(Math.abs(tf.mean(read).dataSync()[0]) < 1e-6);
    assert.ok(Math.abs(tf.moments(read).variance.dataSync()[0] - 1) < 1e-5);
    const llama = await bench('llama-clm');
    assert.throws(() => fresh(llama, bottleneck, { preset: 'pfeiffer' }), /--read h/);
  });
});

describe('bitfit', () => {
  test('the bias of the keys has no gradient: softmax does not see a shift', async () => {
    const b = await bench('bert-classify');
    const graft = active(b, bitfit, fresh(b, bitfit), true);
    for (const [name, g] of gradients(b, graft)) {
      if (name.includes('self.key')) assert.ok(norm(g) < 1e-6, name);
      else if (name.includes('self.query')) assert.ok(norm(g) > 1e-6, name);
    }
  });

  test('bias-free models get biases when asked', async () => {
    const b = await bench('llama-clm');
    assert.throws(() => fresh(b, bitfit), /--create/);
    const graft = fresh(b, bitfit, { create: true });
    const start = active(b, bitfit, graft, true);
    assert.equal(maxDifference(logits(b, [start]), logits(b)), 0);
    step(b, start);
    assert.ok(maxDifference(logits(b, [start]), logits(b)) > 0);
  });
});

describe('prefix', () => {
  const site = { name: 'a', kind: 'attention', layer: 0, heads: 1, kvHeads: 1, headDim: 1 } as never;
  const attend = (key: number, value: number): number => {
    const head = (values: number[]) => tf.tensor4d(values, [1, values.length, 1, 1]);
    const input = { q: head([1]), k: head([1, 0]), v: head([2, 4]), keyMask: null, causal: false, scale: 1 };
    const base = ({ q, k, v }: typeof input) => tf.reshape(tf.matMul(tf.softmax(tf.matMul(tf.reshape(q, [1, 1]), tf.reshape(k, [-1, 1]), false, true)), tf.reshape(v, [-1, 1])), [1, 1, 1, 1]) as tf.Tensor4D;
    const call = { site, input, base, x: head([0]), pass: { train: false } } as never;
    return prefix.attention!(call, { prompt_embeddings: tf.tensor2d([[key, value]]) }, { tokens: 1, dropout: 0 } as never).dataSync()[0];
  };

  test('is (1-λ)h + λΔh, and a zero prefix is not the identity', () => {
    assert.ok(Math.abs(attend(0.5, 10) - 4.830215) < 1e-5);
    assert.ok(Math.abs(attend(0, 0) - 2) < 1e-6);
  });

  test('flattening the reparametrised prefix leaves the logits; the flat one goes on training', async () => {
    const b = await bench('llama-clm');
    const graft = fresh(b, prefix, { tokens: 3, projection: true, hidden: 6 });
    const through = active(b, prefix, graft, true);
    const flat = toGraft(through, graft);
    assert.deepEqual([...flat.tensors.keys()], ['prompt_embeddings']);
    assert.equal(flat.config.projection, false);
    const again = active(b, prefix, flat, true);
    assert.ok(maxDifference(logits(b, [again]), logits(b, [through])) < 1e-6);
    assert.equal(countParameters(again).trained, flat.tensors.get('prompt_embeddings')!.data.length / 4);
  });
});

describe('virtual tokens', () => {
  const cases: [Any, string, boolean][] = [[prefix, 'bert-classify', true], [prefix, 'llama-clm', true], [prefix, 'vit-classify', true], [prompt, 'bert-classify', false], [prompt, 'gpt2-clm', false]];
  for (const [method, name, invariant] of cases) {
    test(`${method.name} on ${name}: none is the base, order ${invariant ? 'is indifferent' : 'matters'}, padding too`, async () => {
      const b = await bench(name);
      const base = logits(b);
      const none = active(b, method, fresh(b, method, { tokens: 0 }));
      assert.equal(maxDifference(logits(b, [none]), base), 0);

      const graft = active(b, method, randomised(fresh(b, method, { tokens: 4 }), 1));
      const P = graft.tensors.get('prompt_embeddings')!;
      const shuffled = active(b, method, randomised(fresh(b, method, { tokens: 4 }), 1));
      shuffled.tensors.set('prompt_embeddings', tf.keep(tf.gather(P, tf.tensor1d([2, 0, 3, 1], 'int32'))));
      shuffled.bind();
      const moved = maxDifference(logits(b, [shuffled]), logits(b, [graft]));
      assert.ok(invariant ? moved < 1e-5 : moved > 1e-3, `moved by ${moved}`);
    });
  }

  for (const method of [prefix, prompt] as Any[]) {
    test(`${method.name}: padded rows compute what they compute alone`, async () => {
      const b = await bench('bert-classify');
      const graft = active(b, method, randomised(fresh(b, method, { tokens: 3 }), 1));
      const both = logits(b, [graft]);
      const { input_ids: ids, attention_mask: mask } = b.golden;
      const alone = ids!.flatMap((row, i) => {
        const n = mask![i].reduce((x, y) => x + y, 0);
        const batch = { kind: 'text' as const, ids: tf.tensor2d([row.slice(0, n)], undefined, 'int32'), mask: tf.ones([1, n]) as tf.Tensor2D, ...(b.golden.token_type_ids ? { types: tf.tensor2d([b.golden.token_type_ids[i].slice(0, n)], undefined, 'int32') } : {}) };
        return [...logits(b, [graft], {}, batch)];
      });
      assert.ok(mask!.some((m) => m.includes(0)), 'a row is padded');
      assert.ok(maxDifference(both, alone) < 1e-5);
    });
  }

  for (const name of ['gpt2-clm', 'llama-clm']) {
    test(`prompt started as a text is that text on ${name}`, async () => {
      const b = await bench(name);
      const text = [5, 9, 2];
      const row = b.golden.input_ids![0].slice(0, 4);
      const batch = (ids: number[]) => ({ kind: 'text' as const, ids: tf.tensor2d([ids], undefined, 'int32'), mask: tf.ones([1, ids.length]) as tf.Tensor2D });
      const graft = active(b, prompt, fresh(b, prompt, { tokens: 3, initIds: text }));
      const whole = logits(b, [], {}, batch([...text, ...row]));
      const prompted = logits(b, [graft], {}, batch(row));
      assert.ok(maxDifference(prompted, whole.slice(-prompted.length)) < 1e-5);
    });
  }
});
