// npm run test:gpu [-- PART...] (graft-test-gpu in the archive of pack:offline), on a machine with an NVIDIA GPU: what the emulator runs
// elsewhere runs on the card. Parts: compile (every kernel by the NVRTC that is found), rates, kernels (the tests of graft-cpu's kernels
// again), commands (whole ones beside the CPU), conformance (TensorFlow.js's suite). Ends with one summary; fails where any part does.
//   --limit SECONDS   nothing is started after that, and what runs then is stopped (default 540)
//   --log FOLDER      keeps what each part printed
// Without a card: make -C kernels emulator && GRAFT_CUDA=kernels/build/emulator npm run test:gpu
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeGpu, startGpu } from '../kernels/dist/src/device.js';
import { native } from '../kernels/dist/src/native.js';
import { AGAIN } from '../kernels/dist/test/again.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: { limit, log }, positionals } = parseArgs({ options: { limit: { type: 'string', default: '540' }, log: { type: 'string' } }, allowPositionals: true });
const began = performance.now(), elapsed = () => (performance.now() - began) / 1000;

/** What there is to compute on; ends the program where there is nothing. */
function gpu() {
  const addon = native();
  try {
    if (!addon) throw new Error('the native addon was not built');
    startGpu(addon);
    return describeGpu(addon);
  } catch (error) {
    console.error(`test:gpu: ${error.message}. The emulator needs no GPU: make -C kernels emulator, then GRAFT_CUDA=kernels/build/emulator`);
    process.exit(1);
  }
}

const { name, capability, multiprocessors, memory, cuda, nvrtc, blas } = gpu(), emulated = name === 'emulated GPU';
console.log(`${name}, compute capability ${capability}, ${multiprocessors} multiprocessors, ${(memory / 2 ** 30).toFixed(0)} GiB; the driver serves CUDA ${cuda}; NVRTC ${nvrtc}; cuBLASLt ${blas ? 'found' : 'not found'}`);

const tests = (file) => ['--test', '--test-reporter=tap', join(root, file)];
const JOBS = {
  compile: emulated ? [] : [['compile', tests('kernels/dist/test/nvrtc.test.js')]], // the emulator's kernels are compiled already
  rates: [['rates', [join(root, 'dist/test/bench/rates.js'), ...(emulated ? ['--tiny'] : [])]]],
  kernels: AGAIN.map((file) => [`kernels: ${file}`, tests(`kernels/dist/test/${file}.test.js`), { GRAFT_TEST_BACKEND: 'cuda' }]),
  commands: [['commands', tests('dist/test/cuda.test.js'), { GRAFT_TEST_GPU: '1' }]],
  conformance: [['conformance', [join(root, 'bin/conformance.mjs'), '--backend', 'graft-cuda']]],
};
const unknown = positionals.filter((p) => !(p in JOBS));
if (unknown.length > 0) {
  console.error(`test:gpu: no part ${unknown.join(', ')}; there are ${Object.keys(JOBS).join(', ')}`);
  process.exit(64);
}

/** Runs node; what it started goes with it when the time is over. */
function run(args, env) {
  const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, ...env }, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let [text, stopped] = ['', false];
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (part) => { text += part; });
  const timer = setTimeout(() => {
    stopped = true;
    process.kill(-child.pid, 'SIGKILL');
  }, 1000 * Math.max(1, Number(limit) - elapsed()));
  return new Promise((resolve) => child.on('close', (status) => {
    clearTimeout(timer);
    resolve({ status, text, stopped });
  }));
}

const count = (text, pattern) => Number(pattern.exec(text)?.[1] ?? 0);

/** How many tests passed, failed and were left out, and the names of those that failed. */
function counts(text) {
  if (/^# pass /m.test(text)) {
    const failures = [...text.matchAll(/^not ok \d+ - (.*)$([\s\S]*?)^ {2}\.\.\.$/gm)].map(([, name, details]) => `${name}: ${(/error: (?:\|-\n\s+)?(.*)/.exec(details)?.[1] ?? '').slice(0, 200)}`);
    return { passed: count(text, /^# pass (\d+)/m), failed: count(text, /^# fail (\d+)/m), skipped: count(text, /^# skipped (\d+)/m), failures };
  }
  const failures = text.split('\n').filter((line) => line.startsWith('  ')).map((line) => line.trim().slice(0, 240));
  return { passed: count(text, /^(\d+) passed, \d+ failed$/m), failed: count(text, /^\d+ passed, (\d+) failed$/m), skipped: 0, failures };
}

const total = { passed: 0, failed: 0, skipped: 0 }, incomplete = [];
if (log) mkdirSync(log, { recursive: true });
for (const [part, jobs] of Object.entries(JOBS)) {
  if (positionals.length > 0 && !positionals.includes(part)) continue;
  for (const [name, args, env] of jobs) {
    if (elapsed() > Number(limit)) {
      incomplete.push(`${name}: not run, the time was over`);
      continue;
    }
    const start = elapsed(), { status, text, stopped } = await run(args, env), took = `${(elapsed() - start).toFixed(1)} s`;
    if (log) writeFileSync(join(log, `${name.replace(/\W+/g, '-')}.log`), text);
    if (stopped) incomplete.push(`${name}: stopped, the time was over`);
    if (part === 'rates') {
      const lines = text.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line)).filter((line) => 'value' in line);
      for (const { name, value, unit } of lines) console.log(`${name.padEnd(52)}${String(value).padStart(10)} ${unit}`);
      if (status !== 0 && !stopped) incomplete.push(`rates: ${text.split('\n').find((line) => /Error/.test(line)) ?? `status ${status}`}`);
      continue;
    }
    const { failures, ...found } = counts(text);
    for (const key of Object.keys(total)) total[key] += found[key];
    console.log(`${name.padEnd(24)}${String(found.passed).padStart(6)} passed${String(found.failed).padStart(6)} failed${String(found.skipped).padStart(6)} skipped${took.padStart(10)}`);
    for (const line of failures.slice(0, 12)) console.log(`    ${line}`);
    if (failures.length > 12) console.log(`    and ${failures.length - 12} more`);
    if (status !== 0 && found.failed === 0 && !stopped) incomplete.push(`${name}: ended with status ${status}: ${text.trim().split('\n').at(-1)}`);
  }
}
for (const line of incomplete) console.log(line);
console.log(`${name}: ${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped, ${incomplete.length} not finished; ${elapsed().toFixed(0)} s`);
process.exit(total.failed + incomplete.length > 0 ? 1 : 0);
