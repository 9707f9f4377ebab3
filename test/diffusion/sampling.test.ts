import { Rng, tf, useBackend, type Tensor4D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { conditionOf, conditionReader, conditionTensors } from '../../src/diffusion/conditions.js';
import ddim from '../../src/diffusion/ddim.js';
import ddpm from '../../src/diffusion/ddpm.js';
import { Denoiser } from '../../src/diffusion/denoiser.js';
import { noiseFrom, normalised, pixelBytes } from '../../src/diffusion/images.js';
import type { Sampler } from '../../src/diffusion/method.js';
import { sample } from '../../src/diffusion/sample.js';
import { levels, noiseSchedule } from '../../src/diffusion/schedule.js';
import type { ModelConfig } from '../../src/formats/checkpoint.js';
import type { OptionValues } from '../../src/options.js';
import { openRuntime } from '../../src/runtime.js';
import { FOLDER, maxDifference, ROOT } from '../models/golden.js';

before(() => useBackend('auto'));

interface Golden { alphas: number[]; [sampler: string]: unknown }
const golden = JSON.parse(readFileSync(join(ROOT, 'test/golden/schedulers.json'), 'utf8')) as Record<string, Golden> & { x0: number[]; noises: number[][] };
const schedule = (config: object) => noiseSchedule({ path: 'unet', files: [], config: { model_type: 'unet-2d-condition', ...config } as ModelConfig });

for (const name of ['linear', 'scaled_linear', 'squaredcos_cap_v2']) {
  const given = { num_train_timesteps: 60, beta_start: 1e-3, beta_end: 0.1, beta_schedule: name };

  test(`${name}: ᾱ and every step of ddpm and ddim as diffusers has them`, () => {
    const own = schedule(given), all = levels(own, 10);
    assert.ok(maxDifference(own.alphas, golden[name].alphas) < 1e-6);
    for (const [key, sampler, config] of [['ddpm', ddpm, {}], ['ddim', ddim, { eta: 0 }], ['ddim-eta', ddim, { eta: 0.7 }]] as [string, Sampler, OptionValues][]) {
      const expected = golden[name][key] as { t: number[]; x: number[][] };
      let x: tf.Tensor = tf.tensor(golden.x0, [1, 1, 2, 3]);
      [...all].reverse().forEach((level, i) => {
        assert.equal(level.t, expected.t[i]);
        const epsilon = tf.add(tf.mul(x, 0.8), 0.1);
        const x0 = tf.clipByValue(tf.div(tf.sub(x, tf.mul(epsilon, Math.sqrt(1 - level.alpha))), Math.sqrt(level.alpha)), -1, 1);
        x = sampler.step(level, x, x0, config, () => tf.tensor(golden.noises[i], [1, 1, 2, 3]));
        assert.ok(maxDifference(x.dataSync() as Float32Array, expected.x[i]) < 1e-4, `${key} after step ${i}: ${x.dataSync()} not ${expected.x[i]}`);
      });
    }
  });
}

test('a schedule that is none is refused by name', () => {
  assert.throws(() => schedule({ prediction_type: 'v_prediction' }), /unet\/config.json: 'prediction_type' is "v_prediction", only networks that predict the noise/);
  assert.throws(() => schedule({ beta_schedule: 'sigmoid' }), /'beta_schedule' is "sigmoid", it must be one of linear, scaled_linear, squaredcos_cap_v2/);
  assert.throws(() => schedule({ num_train_timesteps: 0.5 }), /'num_train_timesteps' is 0.5/);
  assert.throws(() => schedule({ beta_end: -1 }), /'beta_end' is -1, it must be a number from 0 to 1/);
  assert.throws(() => levels(schedule({ num_train_timesteps: 20 }), 21), /--steps 21: it must be a whole number from 1 to 20/);
});

test('guidance counts what the condition adds; 1 is the conditional prediction, 0 the unconditional one', async () => {
  const runtime = await openRuntime({ model: join(FOLDER, 'unet-attends') }), denoiser = new Denoiser(runtime);
  assert.deepEqual([denoiser.shape, denoiser.classes], [[8, 8, 3], 3]);
  const x = noiseFrom([new Rng(1), new Rng(2)], denoiser.shape), at = (g: number, c = [[0], [1, 2]]): Float32Array => denoiser.noise(x, 5, c, g).dataSync().slice() as Float32Array;
  const [one, free, three] = [at(1), at(1, [[], []]), at(3)];
  assert.ok(maxDifference(three, free.map((f, i) => f + 3 * (one[i] - f))) < 1e-5);
  assert.ok(maxDifference(at(0), free) < 1e-6);
  assert.ok(maxDifference(one, free) > 1e-3);
  runtime.dispose();
});

test('an image depends on its own stream, not on those made with it; nothing is left behind', async () => {
  const runtime = await openRuntime({ model: join(FOLDER, 'unet-attends') }), denoiser = new Denoiser(runtime), all = levels(denoiser.schedule, 4);
  const run = (seeds: number[]): Float32Array => {
    const images = sample(denoiser, ddpm, all, seeds.map(() => [1]), seeds.map((s) => new Rng(s)), { guidance: 2, config: {} });
    const values = images.dataSync().slice() as Float32Array;
    images.dispose();
    return values;
  };
  const [first, tensors] = [run([7, 8]), tf.memory().numTensors], size = first.length / 2;
  assert.ok(maxDifference(first.subarray(size), run([8])) < 1e-5);
  assert.deepEqual(run([7, 8]), first);
  assert.ok(maxDifference(first.subarray(0, size), first.subarray(size)) > 1e-2);
  assert.equal(tf.memory().numTensors, tensors);
  runtime.dispose();
});

test('conditions are names with commas between them, or labels', () => {
  const head = { task: 'diffusion' as const, labels: ['ankle boot', 'bag', 'coat'] };
  assert.deepEqual([' bag, ankle boot', '', null, 'hat'].map((t) => conditionOf(t, head.labels)), [[1, 0], [], [], undefined]);
  const table = (columns: string[], names: string[] | null = null) => ({ columns, name: 'rows.jsonl', classNames: () => names });
  assert.deepEqual(conditionReader(head, table(['label'], ['coat', 'bag', 'ankle boot']))({ label: 0 }, 0), [2]);
  assert.deepEqual(conditionReader(head, table(['label', 'prompt']))({ label: 0, prompt: 'bag' }, 0), [1], 'a prompt goes before a label');
  assert.deepEqual(conditionReader(head, table(['id']))({ id: 1 }, 0), []);
  assert.throws(() => conditionReader(head, table(['prompt']))({ prompt: 'bag, hat' }, 4), /rows.jsonl: row 5: prompt "bag, hat" is none of the model's 3 conditions \(ankle boot, bag, coat\)/);
  assert.throws(() => conditionReader(head, table(['label']))({ label: 3 }, 0), /row 1: label 3 is none/);
  const { ids, mask } = conditionTensors([[1], [], [0, 2]], 3);
  assert.deepEqual([ids!.arraySync(), mask!.arraySync()], [[[1, 0], [3, 0], [0, 2]], [[1, 0], [1, 0], [1, 1]]]);
  assert.equal(conditionTensors([[1], [2]], 3).mask, undefined);
  assert.deepEqual(conditionTensors([[]], 0), {});
});

test('pixels go to [-1, 1] and back, in colour and grey', () => {
  const data = Uint8Array.from([0, 128, 255, 10, 20, 60]), image = { data, height: 1, width: 2 };
  const back = (channels: number): number[] => [...pixelBytes(tf.tensor4d(normalised([image], channels), [1, 1, 2, channels]) as Tensor4D)];
  assert.deepEqual(back(3), [...data]);
  assert.deepEqual(back(1), [128, 128, 128, 30, 30, 30]);
  assert.deepEqual([...pixelBytes(tf.tensor4d([-3, 2, 0], [1, 1, 1, 3]))], [0, 255, 128]);
  assert.throws(() => normalised([image], 4), /a diffusion model of 4 channels works on something else than images/);
});
