// Runs the conformance suite that TensorFlow.js ships inside @tensorflow/tfjs-core on graft-cpu: on each instruction set this machine has,
// with one thread and with two. `--backend cpu` runs it on TensorFlow.js's JavaScript backend instead, `--backend graft-cuda` on a GPU, or on
// the emulator (make -C kernels emulator) with GRAFT_CUDA=kernels/build/emulator; `--report` also prints which kernels are native, and
// keeps the list in test/bench/results/; `--bundle` only makes the suite's module.
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const kernels = (path) => import(pathToFileURL(join(root, 'kernels/dist/src', path)));
const SUITE = join(root, 'kernels/dist/conformance-suite.js');

/** Specs of TensorFlow.js 4.22.0 that apply on node to a backend that reads synchronously; the JavaScript backend has two more of its own. */
const SPECS = 4225;

/** The suite as one module: node cannot load the modules it comes in. An archive for machines without registry brings it made. */
async function bundle() {
  const { build } = await import('esbuild').catch((error) => {
    if (existsSync(SUITE)) return {};
    throw error;
  });
  if (!build) return;
  const contents = `export { setTestEnvs } from '@tensorflow/tfjs-core/dist/jasmine_util';
    export const load = () => import('@tensorflow/tfjs-core/dist/tests');`;
  await build({
    stdin: { contents, resolveDir: root }, outfile: SUITE, bundle: true, mainFields: ['module', 'main'], ignoreAnnotations: true,
    format: 'esm', platform: 'node', target: 'node20', logLevel: 'error',
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  });
}

/** Runs the suite in this process. */
async function run(backend, threads) {
  const coverage = backend === 'graft-cpu' ? await nativeKernels() : null;
  const { tf, useBackend } = await kernels('index.js');
  await useBackend(backend === 'graft-cuda' ? 'cuda' : 'cpu', { threads });
  const core = createRequire(import.meta.url)('jasmine-core');
  const jasmine = core.boot(core), env = jasmine.getEnv();
  jasmine.DEFAULT_TIMEOUT_INTERVAL = 60000;
  env.configure({ random: false });
  console.log = console.warn = () => {}; // the specs print, too
  const suite = await import(pathToFileURL(SUITE));
  suite.setTestEnvs([{ name: backend, backendName: backend, isDataSync: true }]);
  await suite.load();
  const result = { passed: 0, failures: [] };
  const around = ({ fullName = 'suite', failedExpectations }) => {
    for (const { message } of failedExpectations) result.failures.push(`${fullName}: ${message.split('\n')[0]}`);
  };
  env.addReporter({
    specDone({ status, fullName, failedExpectations }) {
      if (status === 'passed') result.passed++;
      if (status === 'failed') result.failures.push(`${fullName}: ${failedExpectations[0]?.message.split('\n')[0]}`);
    },
    suiteDone: around,
    jasmineDone: around,
  });
  await env.execute();
  return { ...result, coverage: coverage && { tfjs: tf.version_core, ...(await divide(coverage)) } };
}

/** The kernels of graft-cpu before TensorFlow.js's own are lent to it. */
async function nativeKernels() {
  const { tf } = await kernels('index.js');
  await kernels('cpu/index.js');
  return tf.getKernelsForBackend('graft-cpu').map(({ kernelName }) => kernelName);
}

/** All kernels by who runs them; `partly` are native ones that left some call of the suite to JavaScript. */
async function divide(native) {
  const { tf } = await kernels('index.js');
  const { fallbackCounts } = await kernels('fallback.js');
  const theirs = new Set(tf.getKernelsForBackend('cpu').map(({ kernelName }) => kernelName)), left = fallbackCounts();
  const own = new Set(native), common = [...theirs].filter((k) => own.has(k)).sort();
  return {
    native: common.filter((k) => !left[k]), partly: common.filter((k) => left[k]),
    fallback: [...theirs].filter((k) => !own.has(k)).sort(), graft: native.filter((k) => !theirs.has(k)).sort(),
  };
}

const HEADINGS = {
  native: 'Native', partly: 'Native, with cases that fall back (strings, complex64, NCHW …)',
  fallback: 'Fall back to JavaScript', graft: 'Of graft alone',
};

function report(coverage) {
  for (const [key, heading] of Object.entries(HEADINGS)) console.log(`${heading} (${coverage[key].length}): ${coverage[key].join(', ')}\n`);
  writeFileSync(join(root, 'test/bench/results/kernels-coverage.json'), `${JSON.stringify(coverage, null, 2)}\n`);
}

/** Runs the suite in a process of its own: the instruction set is chosen once per process. */
function runApart(backend, isa, threads) {
  const args = [fileURLToPath(import.meta.url), '--alone', '--backend', backend, '--threads', String(threads)];
  const { stdout, status } = spawnSync(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, GRAFT_ISA: isa }, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`the suite ended with status ${status} on ${backend}`);
  return JSON.parse(stdout);
}

async function main({ backend, report: wantsReport }) {
  const native = (await kernels('native.js')).native();
  if (backend.startsWith('graft-') && !native) return console.log('conformance: skipped, the native backend was not built');
  await bundle();
  const isas = backend === 'graft-cpu' ? ['base', 'avx2', 'avx512'].slice(0, native.isa() + 1) : [''];
  const total = { passed: 0, failed: 0 };
  let coverage;
  for (const isa of isas)
    for (const threads of backend === 'graft-cpu' ? [1, 2] : [1]) {
      const result = runApart(backend, isa, threads);
      const missing = SPECS - result.passed - result.failures.length;
      if (missing > 0) result.failures.push(`${missing} of ${SPECS} specs did not run`);
      console.log([backend, isa, `${threads} thread${threads > 1 ? 's' : ''}:`].filter(Boolean).join(' '), `${result.passed} passed, ${result.failures.length} failed`);
      for (const line of result.failures) console.log(`  ${line}`);
      total.passed += result.passed;
      total.failed += result.failures.length;
      coverage = result.coverage;
    }
  if (wantsReport && coverage) report(coverage);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  process.exitCode = total.failed > 0 ? 1 : 0;
}

const { values } = parseArgs({
  options: { backend: { type: 'string', default: 'graft-cpu' }, report: { type: 'boolean' }, alone: { type: 'boolean' }, bundle: { type: 'boolean' }, threads: { type: 'string', default: '2' } },
});
if (values.alone) process.stdout.write(JSON.stringify(await run(values.backend, Number(values.threads))), () => process.exit());
else if (values.bundle) await bundle();
else await main(values);
