import { useBackend } from '@graft/kernels';
import { fallbackCounts, resetFallbackCounts } from '@graft/kernels/fallback';
import { Rng } from '@graft/kernels/random';
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, test } from 'node:test';
import { loadMethod } from '../../src/adapters/registry.js';
import type { Table } from '../../src/formats/table.js';
import type { Example, Preparation } from '../../src/objectives/objective.js';
import { loadObjective } from '../../src/objectives/registry.js';
import { openRuntime, type Runtime } from '../../src/runtime.js';
import { Loop } from '../../src/training/loop.js';
import { Optimiser } from '../../src/training/optimiser.js';
import { Validation } from '../../src/training/validation.js';
import { fresh } from '../adapters/support.js';
import { bench, images, pixels, SIZE, step } from '../tta/support.js';
import { FOLDER, readGolden, type Golden } from './golden.js';

const skip = await useBackend('cpu', { threads: 2 }).then(() => false, (error: Error) => error.message);
const NAMES = readdirSync(FOLDER, { withFileTypes: true }).filter((e) => e.isDirectory()).map((e) => e.name);

beforeEach(resetFallbackCounts);

/** Four rows as any objective prepares them; texts are those of the golden values. */
function examples(name: string, { model }: Runtime): Example[] {
  if (model.input === 'image' || model.input === 'noise') {
    const [height, width] = model.imageSize ?? [SIZE, SIZE];
    const data = (b: number): Uint8Array => Uint8Array.from({ length: height * width * 3 }, (_, i) => new Rng(name, b, i).integer(256));
    return [0, 1, 2, 3].map((b) => ({ length: 1, label: b % 3, mask: new Uint8Array(height * width).fill(b), image: { data: data(b), height, width }, condition: model.input === 'noise' && name !== 'unet-plain' ? [b % 2] : [], row: b }));
  }
  const { input_ids, attention_mask } = readGolden<Golden>(name);
  return [0, 1, 2, 0].map((b, row) => {
    const ids = input_ids![b].filter((_, t) => attention_mask![b][t]);
    const text = { ids, types: ids.map(() => 0), starts: [...ids.keys()] };
    return { length: ids.length, text, label: b, tags: ids.map((id) => id % 3), labels: Int32Array.from(ids), row, bytes: ids.length };
  });
}

/** Two steps of two micro-batches each, and a measurement. */
async function trainAndMeasure(name: string, methodName: string, kind: 'adamw' | 'sgd', config: Record<string, unknown> = {}): Promise<void> {
  const model = join(FOLDER, name), base = await openRuntime({ model });
  const graft = fresh(base, await loadMethod(methodName), config, { head: base.head });
  base.dispose();
  const runtime = await openRuntime({ model, grafts: [graft], trainable: true });
  // The small checkpoints bring no tokeniser.
  const spoken: Runtime = Object.create(runtime, { tokenizer: { value: { padId: 0, maskId: 4, specialIds: new Set() } } });
  const p: Preparation = { runtime: spoken, table: { name } as Table, maxLength: 20, options: { maskShare: 0.5, labelSmoothing: 0.1 }, seed: 0 };
  const objective = await loadObjective(runtime.head!.task);
  const optimiser = new Optimiser({ kind, weightDecay: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, momentum: 0.9, nesterov: true });
  const rows = examples(name, runtime);
  const options = { batchSize: 2, accumulate: 2, seed: 0, totalSteps: 2, clip: 0.1, rate: () => 1e-3 };
  const loop = new Loop(objective, rows, p, runtime.grafts.at(-1)!, optimiser, options, () => undefined);
  for (let i = 0; i < options.totalSteps; i++) assert.ok(loop.step(i).gradNorm > 0);
  assert.ok(Number.isFinite(new Validation(objective, { examples: rows, p }, 2).measure()));
  optimiser.dispose();
  runtime.dispose();
}

for (const name of NAMES)
  test(`${name}: training and evaluation run on native kernels alone`, { skip }, async () => {
    await trainAndMeasure(name, 'lora', 'adamw', { dropout: 0.1, ...(name === 'unet-plain' && { targetModules: ['conv1', 'conv2'] }) });
    await trainAndMeasure(name, 'full', 'sgd');
    assert.deepEqual(fallbackCounts(), {});
  });

for (const name of NAMES.filter((n) => n.startsWith('resnet')))
  test(`${name}: test-time adaptation runs on native kernels alone`, { skip }, async () => {
    const b = await bench(join(FOLDER, name));
    const x = pixels(images(4, 0));
    for (const method of ['bn-adapt', 'tent', 'cotta']) {
      const adaptation = await b.start(method);
      for (let i = 0; i < 2; i++) assert.ok(step(adaptation, x).every(Number.isFinite), method);
      adaptation.dispose();
    }
    assert.deepEqual(fallbackCounts(), {});
    x.dispose();
    b.runtime.dispose();
  });
