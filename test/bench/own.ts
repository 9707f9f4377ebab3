/** graft's side of `npm run bench`: own.js THREADS BACKEND PRECISION; see peers.py for the conversation. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
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
import { secondsOf } from './processes.js';
import { SIDE, type Training, type Work } from './work.js';

type Run = () => void;

const setUp = async (work: Work): Promise<Run> => {
  switch (work.kind) {
    case 'product': return work.frozen ? multiplyFrozen(work) : multiply(work);
    case 'train': return train(work);
    case 'evaluate': return evaluate(work.model, work.batches);
    case 'generate': return generate(work.model, work.tokens, work.rows ?? 1);
    case 'copy': return copy(work.bytes);
    case 'tta': return adapt(work);
    case 'init': return initialise(work);
  }
};

type Product = Extract<Work, { kind: 'product' }>;

function multiply({ m, k, n, ta = false, tb = false, times }: Product): Run {
  const a = tf.randomUniform(ta ? [k, m] : [m, k]) as Tensor2D, b = tf.randomUniform(tb ? [n, k] : [k, n]) as Tensor2D;
  return () => repeated(times, () => tf.matMul(a, b, ta, tb));
}

/** A layer of a checkpoint: its packed copy is made once. */
function multiplyFrozen({ m, k, n, times }: Product): Run {
  const folder = mkdtempSync(join(tmpdir(), 'graft-bench-')), path = join(folder, 'w');
  writeFileSync(path, Float32Array.from({ length: n * k }, Math.random));
  const file = openMapped(path), W = file.tensor(0, [n, k], 'F32') as Tensor2D, a = tf.randomUniform([m, k]);
  file.close();
  rmSync(folder, { recursive: true });
  return () => repeated(times, () => linear(a, W));
}

/** The same product so many times, until the last is there: a GPU goes on after the call. */
function repeated(times: number, f: () => tf.Tensor): void {
  for (let i = 1; i < times; i++) f().dispose();
  tf.tidy(() => tf.slice(tf.reshape(f(), [-1]), 0, 1).dataSync());
}

/** A checkpoint with a fresh graft that classifies into six, or goes on with a text. */
async function open(model: string, method: string, { rank = 8, everywhere = false, task }: Training = {}): Promise<Runtime> {
  const checkpoint = await openCheckpoint(model);
  const graft = createGraft({
    method: await loadMethod(method), config: method === 'lora' ? { rank, alpha: rank, ...(everywhere && { targetModules: ['all-linear'] }) } : {}, model: await loadModel(checkpoint), base: baseOf(checkpoint),
    fingerprint: checkpoint.fingerprint(), head: task === 'clm' ? null : { task: 'classify', labels: [...'abcdef'] }, seed: 0, history: [],
  });
  checkpoint.close();
  return openRuntime({ model, grafts: [graft], trainable: true });
}

/** Random tokens of the given lengths, as the objective keeps its rows. */
const texts = (lengths: readonly number[]): Example[] => lengths.map((length, i) => ({
  length, text: { ids: Array.from({ length }, (_, t) => 1000 + ((i * 7919 + t * 104729) % 29000)), types: new Array<number>(length).fill(0) }, label: i % 6, row: {},
} as Example));

/** Grey images. */
const photographs = (n: number, side = SIDE): Example[] => Array.from({ length: n }, (_, i) => ({ length: 1, label: i % 6, image: { height: side, width: side, data: new Uint8Array(side * side * 3).fill(97 + i) } } as Example));

/** The same tokens to go on with. */
const spoken = (lengths: readonly number[]): Example[] => texts(lengths).map((e) => ({ ...e, labels: Int32Array.from((e as unknown as { text: { ids: number[] } }).text.ids) } as Example));

async function train({ model, batches: lengths, images, side, full, recompute, ...how }: Extract<Work, { kind: 'train' }>): Promise<Run> {
  const batches = images ? [photographs(images, side)] : lengths.map(how.task === 'clm' ? spoken : texts);
  const runtime = await open(model, full ? 'full' : 'lora', how), objective = await loadObjective(how.task ?? 'classify');
  const optimiser = new Optimiser({ kind: 'adamw', weightDecay: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, momentum: 0, nesterov: false });
  const p = { runtime, maxLength: 4096, options: {}, seed: 0 } as unknown as Preparation;
  const loops = batches.map((examples) => {
    const o = { batchSize: examples.length, seed: 0, shuffle: false, totalSteps: 1e6, accumulate: 1, clip: 1, recompute, rate: () => 1e-4 };
    return new Loop(objective, examples, p, runtime.grafts[0], optimiser, o, () => {});
  });
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

async function generate(model: string, tokens: number, rows: number): Promise<Run> {
  const runtime = await openRuntime({ model }), prompts = Array.from({ length: rows }, () => Array.from({ length: 16 }, (_, i) => 100 + 7 * i));
  return () => {
    const decoder = new Decoder(runtime, prompts, tokens, {});
    let logits = decoder.start();
    for (let n = 1; n < tokens; n++) logits = decoder.next(logits.map((l, parent) => ({ parent, token: largest(l) })));
    decoder.dispose();
  };
}

/** A process of its own, from start to end. */
function initialise({ model, method, start, data, batches }: Extract<Work, { kind: 'init' }>): Run {
  const folder = mkdtempSync(join(tmpdir(), 'graft-bench-')), output = join(folder, 'out'), backend = process.argv[3];
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const shape = ['--batch-size', String(batches[0].length), '--max-length', String(batches[0][0])];
  const how = method === 'pissa' ? ['--niter', '4'] : ['-d', data, ...shape, ...(method === 'corda' ? ['--niter', '4'] : ['--rho', '1', '--max-batches', String(batches.length)])];
  const graft = fileURLToPath(new URL('../../../bin/graft.js', import.meta.url));
  return () => { secondsOf([process.execPath, graft, 'svd-init', '-m', model, '-g', start, '--method', method, ...how, '--backend', backend, '-q', '-o', output], output); };
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
  try {
    answer = await answerTo(asked);
  } catch (error) {
    answer = { error: (error as Error).message.split('\n')[0] };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

async function answerTo(asked: { open?: Work; run?: true }): Promise<object> {
  if (asked.open) {
    run = await setUp(asked.open);
    run();
    return {};
  }
  if (!asked.run) return { bytes: mostMemory() };
  const start = performance.now(), used = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(used);
  return { seconds: (performance.now() - start) / 1000, cpu: (user + system) / 1e6 };
}

/** Peak bytes: of tensors on the GPU, else of the process. */
function mostMemory(): number {
  return tf.getBackend() === 'graft-cuda' ? (tf.memory() as unknown as { peak: number }).peak : process.resourceUsage().maxRSS * 1024;
}
