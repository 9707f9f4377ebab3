/** graft's side of `npm run bench`: own.js THREADS BACKEND PRECISION; see peers.py for the conversation. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { linear, openMapped, tf, useBackend, type BackendName, type Tensor2D, type Tensor4D } from '@graft/kernels';
import { baseOf } from '../../src/adapters/base.js';
import { createGraft } from '../../src/adapters/instantiate.js';
import { loadMethod } from '../../src/adapters/registry.js';
import { Decoder } from '../../src/decoding/decoder.js';
import { largest } from '../../src/decoding/probabilities.js';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { loadModel } from '../../src/models/registry.js';
import type { Example, Preparation } from '../../src/objectives/objective.js';
import { loadObjective } from '../../src/objectives/registry.js';
import { openRuntime, type Runtime } from '../../src/runtime.js';
import { Loop } from '../../src/training/loop.js';
import { Optimiser } from '../../src/training/optimiser.js';
import { Source } from '../../src/tta/network.js';
import { loadTta } from '../../src/tta/registry.js';
import { SIDE, type Work } from './work.js';

type Run = () => void;

const setUp = async (work: Work): Promise<Run> => {
  switch (work.kind) {
    case 'product': return work.frozen ? multiplyFrozen(work) : multiply(work);
    case 'train': return train(work.model, work.images ? [photographs(work.images)] : work.batches.map(texts), work.full ?? false);
    case 'evaluate': return evaluate(work.model, work.batches);
    case 'generate': return generate(work.model, work.tokens);
    case 'copy': return copy(work.bytes);
    case 'tta': return adapt(work);
  }
};

type Product = Extract<Work, { kind: 'product' }>;

function multiply({ m, k, n, ta = false, tb = false, times }: Product): Run {
  const a = tf.randomUniform(ta ? [k, m] : [m, k]) as Tensor2D, b = tf.randomUniform(tb ? [n, k] : [k, n]) as Tensor2D;
  return () => {
    for (let i = 0; i < times; i++) tf.dispose(tf.matMul(a, b, ta, tb));
  };
}

/** A layer of a checkpoint: its packed copy is made once. */
function multiplyFrozen({ m, k, n, times }: Product): Run {
  const folder = mkdtempSync(join(tmpdir(), 'graft-bench-')), path = join(folder, 'w');
  writeFileSync(path, Float32Array.from({ length: n * k }, Math.random));
  const file = openMapped(path), W = file.tensor(0, [n, k], 'F32') as Tensor2D, a = tf.randomUniform([m, k]);
  file.close();
  rmSync(folder, { recursive: true });
  return () => {
    for (let i = 0; i < times; i++) tf.dispose(linear(a, W));
  };
}

/** A checkpoint with a fresh graft that classifies into six. */
async function open(model: string, method: string): Promise<Runtime> {
  const checkpoint = await openCheckpoint(model);
  const graft = createGraft({
    method: await loadMethod(method), config: method === 'lora' ? { rank: 8, alpha: 8 } : {}, model: await loadModel(checkpoint), base: baseOf(checkpoint),
    fingerprint: checkpoint.fingerprint(), head: { task: 'classify', labels: [...'abcdef'] }, seed: 0, history: [],
  });
  checkpoint.close();
  return openRuntime({ model, grafts: [graft], trainable: true });
}

/** Random tokens of the given lengths, as the objective keeps its rows. */
const texts = (lengths: readonly number[]): Example[] => lengths.map((length, i) => ({
  length, text: { ids: Array.from({ length }, (_, t) => 1000 + ((i * 7919 + t * 104729) % 29000)), types: new Array<number>(length).fill(0) }, label: i % 6, row: {},
} as Example));

/** Grey images. */
const photographs = (n: number): Example[] => Array.from({ length: n }, (_, i) => ({ length: 1, label: i % 6, image: { height: SIDE, width: SIDE, data: new Uint8Array(SIDE * SIDE * 3).fill(97 + i) } } as Example));

async function train(model: string, batches: Example[][], full: boolean): Promise<Run> {
  const runtime = await open(model, full ? 'full' : 'lora'), objective = await loadObjective('classify');
  const optimiser = new Optimiser({ kind: 'adamw', weightDecay: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, momentum: 0, nesterov: false });
  const p = { runtime, maxLength: 512, options: {}, seed: 0 } as unknown as Preparation;
  const loops = batches.map((examples) => new Loop(objective, examples, p, runtime.grafts[0], optimiser,
    { batchSize: examples.length, seed: 0, shuffle: false, totalSteps: 1e6, accumulate: 1, clip: 1, rate: () => 1e-4 }, () => {}));
  return () => loops.forEach((l) => l.step(0));
}

async function evaluate(model: string, batches: number[][]): Promise<Run> {
  const runtime = await open(model, 'linear'), objective = await loadObjective('classify');
  const p = { runtime, maxLength: 512, options: {}, seed: 0 } as unknown as Preparation;
  return () => batches.forEach((lengths) => tf.tidy(() => {
    const { inputs, targets } = objective.batch(texts(lengths), 0, p);
    runtime.logits(inputs, {}, targets.positions).dataSync();
  }));
}

async function generate(model: string, tokens: number): Promise<Run> {
  const runtime = await openRuntime({ model }), prompt = Array.from({ length: 16 }, (_, i) => 100 + 7 * i);
  return () => {
    const decoder = new Decoder(runtime, [prompt], tokens, {});
    let [logits] = decoder.start();
    for (let n = 1; n < tokens; n++) [logits] = decoder.next([{ parent: 0, token: largest(logits) }]);
    decoder.dispose();
  };
}

/** On two threads as on one: one core moves nearly what the memory gives. */
function copy(bytes: number): Run {
  const [from, to] = [new Float32Array(bytes / 4).fill(1), new Float32Array(bytes / 4)];
  return () => to.set(from);
}

async function adapt({ weights, method: name, batch, size, options }: Extract<Work, { kind: 'tta' }>): Promise<Run> {
  const runtime = await openRuntime({ model: weights }), method = await loadTta(name);
  const config = Object.fromEntries(Object.entries(method.options).map(([key, o]) => [key, options?.[key] ?? o.default]));
  const adaptation = method.start(new Source(runtime.model, runtime.weights, runtime.grafts, runtime.head!), config, 0);
  const x = tf.randomUniform([batch, size, size, 3]) as Tensor4D;
  return () => tf.tidy(() => { adaptation.step(x).dataSync(); });
}

await useBackend(process.argv[3] as BackendName, { threads: Number(process.argv[2]), precision: process.argv[4] as 'f32' | 'bf16' });
let run: Run = () => {};
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line) as { open?: Work; run?: true };
  let answer = {};
  if (asked.open) {
    run = await setUp(asked.open);
    run();
  } else if (asked.run) {
    const start = performance.now(), used = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(used);
    answer = { seconds: (performance.now() - start) / 1000, cpu: (user + system) / 1e6 };
  } else {
    answer = { bytes: process.resourceUsage().maxRSS * 1024 };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
