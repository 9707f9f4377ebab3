/**
 * `npm run bench [-- PART-OF-NAME...]`: graft beside its peers, doing the same work in turns on the same machine with the same number of threads.
 * Prints medians and the median ratio of paired runs, and writes test/bench/results/<part>.json.
 *
 * GRAFT_BENCH_PYTHON   a Python with torch, transformers, peft, safetensors, numpy, onnx, onnxscript and onnxruntime; without it only TensorFlow.js on WebAssembly is a peer
 * GRAFT_BENCH_THREADS  default 2; GRAFT_BENCH_RUNS  pairs per piece of work, default 7
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { processWorks, secondsOf, type ProcessWork } from './processes.js';
import { median, Side } from './side.js';
import { encoderFlop, SIDE, type Work } from './work.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const THREADS = process.env.GRAFT_BENCH_THREADS ?? '2', RUNS = Number(process.env.GRAFT_BENCH_RUNS ?? 7), PYTHON = process.env.GRAFT_BENCH_PYTHON;
const folder = mkdtempSync(join(tmpdir(), 'graft-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

// As many threads for each side.
const ENVIRONMENT = { OMP_NUM_THREADS: THREADS, OPENBLAS_NUM_THREADS: THREADS };
const own = (backend: string, precision = 'f32', threads = THREADS) => (): Side => new Side(process.execPath, [join(ROOT, 'dist/test/bench/own.js'), threads, backend, precision], ENVIRONMENT);
const peer = (...more: string[]) => (): Side => new Side(PYTHON!, [join(ROOT, 'test/bench/peers.py'), THREADS, ...more], ENVIRONMENT);
const SIDES: Record<string, () => Side> = { graft: own('cpu'), bf16: own('cpu', 'bf16'), copy: own('cpu', 'f32', '1'), wasm: own('wasm'), peer: peer(), onnx: peer('onnx') };

/** Which others do a piece of work, after graft. */
const rivals = (work: Work): string[] => [
  ...(PYTHON ? ['peer'] : []), ...(PYTHON && work.kind === 'evaluate' ? ['onnx'] : []), ...(work.precision ? ['graft'] : []),
  ...(work.kind === 'product' && !work.frozen && work.flop! < 1e9 ? ['wasm'] : []), ...(work.bytes ? ['copy'] : []),
];

/** A checkpoint with random weights: how fast it runs does not depend on what it knows. */
function blank(name: string): string {
  const path = join(folder, name);
  if (!existsSync(path)) execFileSync(process.execPath, [join(ROOT, 'bin/graft.js'), 'init-model', '-c', join(ROOT, `test/bench/configs/${name}.json`), '-o', path, join(ROOT, 'fixtures/encoder/tokenizer.json')]);
  return path;
}

function halved(path: string): string {
  const to = `${path}-bf16`;
  if (!existsSync(to)) execFileSync(process.execPath, [join(ROOT, 'bin/graft.js'), 'convert', '--to', 'safetensors', '--dtype', 'bf16', path, '-o', to]);
  return to;
}

const repeat = (n: number, length: number): number[] => new Array<number>(n).fill(length);
/** Lengths of texts as sentiment data has them (SST-2: mean 25 word pieces, a long tail), drawn once. */
const REAL = Array.from({ length: 4 }, (_, b) => Array.from({ length: 32 }, (_, i) => 5 + Math.floor(12 * -Math.log((((i * 37 + b * 101) % 128) + 0.5) / 128)) + ((i * 13 + b) % 9)));
const WIDTHS = { minilm: { d: 384, inner: 1536, layers: 6 }, 'bert-base': { d: 768, inner: 3072, layers: 12 } };
type Encoder = keyof typeof WIDTHS;

const SQUARE = [64, 128, 256, 512, 1024, 2048, 4096].map((n) => [n, n, n]);
/** Tokens × in × out of MiniLM's, BERT-base's and ViT-B's layers. */
const LAYERS = [[4096, 384, 384], [4096, 384, 1536], [4096, 1536, 384], [1024, 768, 768], [1024, 768, 3072], [1024, 3072, 768], [1576, 768, 768], [1576, 768, 3072], [1576, 3072, 768]];
const WAYS = [[false, false], [false, true], [true, false], [true, true]];
const product = ([m, k, n]: number[], more: { ta?: boolean; tb?: boolean; frozen?: boolean; precision?: 'bf16' }) => (): Work => ({
  name: `product ${m}×${k}×${n} ${more.precision ?? `${more.ta ? 't' : 'n'}${more.tb ? 't' : 'n'}`}`, kind: 'product', m, k, n, ...more, flop: 2 * m * k * n, times: Math.ceil(2e9 / (2 * m * k * n)),
});
const products = [
  ...[...SQUARE, ...LAYERS].flatMap((size) => WAYS.map(([ta, tb]) => product(size, { ta, tb }))),
  ...[...SQUARE.slice(3), ...LAYERS].map((size) => product(size, { tb: true, frozen: true, precision: 'bf16' })),
];
interface Training { full?: boolean; precision?: 'bf16' }
const training = (what: string, model: Encoder, batches: number[][], { full = false, precision }: Training = {}) => (): Work =>
  // Forward, and back through the activations; a full step forms the weights' gradients too.
  ({ name: `${what} ${model}${precision ? ` ${precision}` : ''}`, kind: 'train', model: blank(model), batches, full, precision, flop: (full ? 3 : 2) * encoderFlop(WIDTHS[model], batches) });
const seeing = (what: string, images: number) => (): Work =>
  ({ name: `${what} vit-base`, kind: 'train', model: blank('vit-base'), batches: [], images, flop: 2 * encoderFlop(WIDTHS['bert-base'], [repeat(images, 197)]) });
const evaluation = (what: string, model: Encoder, batches: number[][]) => (): Work =>
  ({ name: `${what} ${model}`, kind: 'evaluate', model: blank(model), batches, flop: encoderFlop(WIDTHS[model], batches) });
/** Every weight is read once a token; with bf16, two bytes of it. */
const generation = (what: string, model: string, stored: 'f32' | 'bf16', precision?: 'bf16') => (): Work => {
  const path = stored === 'f32' ? blank(model) : halved(blank(model));
  const bytes = statSync(join(path, 'model.safetensors')).size / (stored === 'f32' && precision ? 2 : 1);
  return { name: `${what} ${model} ${stored}${precision ? `, products in ${precision}` : ''}`, kind: 'generate', model: path, tokens: 33, bytes: 32 * bytes, precision };
};
const CIFAR = join(ROOT, '../shared/data/cifar10/resnet20-12fca82f.safetensors');
const streams = existsSync(CIFAR) ? ['source', 'bn-adapt', 'tent'].map((method) => (): Work => ({ name: `${method} resnet-20 batch 200`, kind: 'tta', weights: CIFAR, method, batch: 200, size: 32 })) : [];
/** Every method that needs no images of the source and has a counterpart in test/golden/tta.py. */
const adapting = existsSync(CIFAR) ? ['source', 'bn-adapt', 'tent', 'eata', 'sar', 'ostta', 'lame', 't3a', 'cotta', 'petal', 'rotta'].map((method) => (): Work =>
  ({ name: `${method} resnet-20 adapting, batch 200`, kind: 'tta', weights: CIFAR, method, batch: 200, size: 32, options: ['cotta', 'petal'].includes(method) ? { nAug: 4 } : {} })) : [];
const large = (method: string) => (): Work => ({ name: `${method} resnet-50 batch 16`, kind: 'tta', weights: blank('resnet-50'), method, batch: 16, size: SIDE });

const PARTS: Record<string, (() => Work | ProcessWork)[]> = {
  products,
  text: [
    training('LoRA step 32×128', 'minilm', [repeat(32, 128)]), training('LoRA step 32×128', 'minilm', [repeat(32, 128)], { precision: 'bf16' }),
    training('LoRA steps, lengths of real text', 'minilm', REAL), training('LoRA steps, lengths of real text', 'minilm', REAL, { precision: 'bf16' }),
    training('LoRA step 8×128', 'bert-base', [repeat(8, 128)]), training('LoRA step 8×128', 'bert-base', [repeat(8, 128)], { precision: 'bf16' }),
    training('full step 8×128', 'bert-base', [repeat(8, 128)], { full: true }), evaluation('evaluation 64×128', 'minilm', [repeat(64, 128)]), evaluation('evaluation, lengths of real text', 'minilm', REAL),
  ],
  generation: [generation('32 tokens, batch 1', 'llama-150m', 'f32'), generation('32 tokens, batch 1', 'llama-150m', 'f32', 'bf16'), generation('32 tokens, batch 1', 'llama-150m', 'bf16'), generation('32 tokens, batch 1', 'llama-150m', 'bf16', 'bf16')],
  images: [seeing('LoRA step 8×224×224', 8), ...streams, large('source'), large('tent')],
  adapting,
  processes: processWorks({ root: ROOT, folder, python: PYTHON, threads: THREADS, blank }),
};

interface Result { name: string; seconds: Record<string, number>; gflops?: number; ratio: Record<string, number>; memory?: Record<string, number> }

/** Milliseconds after which the threads of a side that has run no longer wait for work with a processor of their own (OpenBLAS: 2²⁶ cycles). */
const SETTLED = 60;

/** Bytes that the side `copy` moves, for work that reads some at least. */
const COPIED = 1 << 28;

async function measure(work: Work): Promise<Result> {
  const names = [work.precision ?? 'graft', ...rivals(work)];
  const sides = names.map((n) => SIDES[n]());
  for (const [i, side] of sides.entries()) await side.open(names[i] === 'copy' ? { name: 'copy', kind: 'copy', bytes: COPIED } : work);
  const times = names.map((): number[] => []), once = work.kind === 'product' ? 1 / work.times : 1;
  for (let r = 0; r < RUNS; r++) {
    for (const [i, side] of sides.entries()) {
      await setTimeout(SETTLED);
      times[i].push(await side.seconds() * (names[i] === 'copy' ? work.bytes! / COPIED : once));
    }
  }
  const memory = work.kind === 'product' ? undefined : Object.fromEntries(await Promise.all(sides.map(async (s, i): Promise<[string, number]> => [names[i], await s.bytes()])));
  sides.forEach((s) => s.close());
  const { seconds, ratio } = summary(names, times);
  return { name: work.name, seconds, ratio, memory, gflops: work.flop && work.flop / seconds[names[0]] / 1e9 };
}

/** Whole processes, in turns. */
function measureProcesses({ name, sides, output }: ProcessWork): Result {
  const names = Object.keys(sides), times = names.map((): number[] => []);
  for (let r = 0; r < RUNS; r++) names.forEach((n, i) => times[i].push(secondsOf(sides[n], output)));
  return { name, ...summary(names, times) };
}

/** Medians, and the medians of paired ratios to the first. */
function summary(names: string[], times: number[][]): Pick<Result, 'seconds' | 'ratio'> {
  return {
    seconds: Object.fromEntries(names.map((n, i) => [n, median(times[i])])),
    ratio: Object.fromEntries(names.slice(1).map((n, i) => [n, median(times[i + 1].map((t, r) => t / times[0][r]))])),
  };
}

const wanted = process.argv.slice(2);
console.log(`${'work'.padEnd(58)}${['graft, s', 'GFLOP/s', 'peer, ×', 'onnx, ×', 'f32, ×', 'wasm, ×', 'copy, ×', 'memory of peer'].map((c) => c.padStart(12)).join('')}`);
for (const [part, works] of Object.entries(PARTS)) {
  const results: Result[] = [];
  for (const make of works) {
    const work = make();
    if (wanted.length > 0 && !wanted.some((w) => part === w || work.name.includes(w))) continue;
    const r = 'sides' in work ? measureProcesses(work) : await measure(work);
    results.push(r);
    const [first] = Object.keys(r.seconds), memory = r.memory?.peer ? (r.memory[first] / r.memory.peer).toFixed(2) : '';
    const times = ['peer', 'onnx', 'graft', 'wasm', 'copy'].map((side) => r.ratio[side]?.toFixed(2) ?? '');
    console.log(r.name.padEnd(58) + [r.seconds[first].toPrecision(3), r.gflops?.toFixed(1) ?? '', ...times, memory].map((c) => c.padStart(12)).join(''));
  }
  if (results.length === 0 || wanted.some((w) => !(w in PARTS))) continue; // only whole parts are kept
  mkdirSync(join(ROOT, 'test/bench/results'), { recursive: true });
  writeFileSync(join(ROOT, `test/bench/results/${part}.json`), `${JSON.stringify({ cpu: cpus()[0].model, threads: Number(THREADS), runs: RUNS, results }, null, 2)}\n`);
}
