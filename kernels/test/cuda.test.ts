// graft-cuda without a GPU: its kernels run in the emulator, and the tests of graft-cpu's kernels are run again on them.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { native } from '../src/native.js';
import { AGAIN } from './again.js';
import { emulated, emulator, script } from './emulator.js';

const found = emulator();
const skip = 'missing' in found ? found.missing : false;
const folder = 'folder' in found ? found.folder : '';

/** Native functions that serve graft-cuda as they are: none writes a tensor, and the one that reads some takes them from the host. */
const SHARED = ['bidiagonalise', 'binaryOp', 'codeWeights', 'convFilterBytes', 'count', 'destroy', 'doubleMatMul', 'fileCopy', 'fileExchange', 'fileLock', 'fileWriteBack', 'halfProducts', 'isa', 'mapClose', 'mapOpen', 'mapTensor', 'memoryLimit', 'ranksClose', 'ranksOpen', 'ranksShare', 'ranksSum', 'reflectRows', 'rotateRows',
  'threads', 'tridiagonalise', 'unaryOp', 'weightedSum', 'weightedSumStored'];

const here = fileURLToPath(new URL('.', import.meta.url));

const OWN_PRODUCTS = ['matmul', 'linear', 'low-rank', 'coded', 'conv'];

for (const [name, how, more] of [...AGAIN.map((name) => [name, '', {}] as const), ...OWN_PRODUCTS.map((name) => [name, ', without cuBLASLt', { GRAFT_CUBLASLT: 'none' }] as const)]) {
  test(`on graft-cuda: ${name}${how}`, { skip }, () => {
    const env = emulated(folder, { GRAFT_TEST_BACKEND: 'cuda', GRAFT_CUDA_EXACT: '1', ...more });
    delete env.NODE_TEST_CONTEXT; // or the inner runner would report to the outer one
    const run = spawnSync(process.execPath, ['--test', '--test-reporter=tap', join(here, `${name}.test.js`)], { encoding: 'utf8', env });
    assert.equal(run.status, 0, failures(run.stdout) + run.stderr);
    assert.match(run.stdout, /^# pass [1-9]/m);
  });
}

test('every native function that touches tensors has its kernel on the GPU', { skip }, () => {
  const names = Object.keys(native()!);
  assert.deepEqual(names.filter((name) => !name.startsWith('cuda:') && !names.includes(`cuda:${name}`)).sort(), SHARED);
});

/** The failed part of a TAP report. */
const failures = (report: string): string => report.split('\n').filter((line) => !/^\s*(ok|#|TAP|---|\.\.\.|duration_ms|type:|\d+\.\.)/.test(line)).slice(0, 60).join('\n');

test('the emulator shows a missing barrier, a race and a barrier that not all reach', { skip }, () => {
  const out = mkdtempSync(join(tmpdir(), 'graft-')), program = join(out, 'faults'), kernels = join(here, '../..');
  try {
    const flags = ['-std=c++17', '-O1', '-DGRAFT_EMULATOR', '-include', 'cuda/emulator/emulator.h', '-o', program, '-x', 'c++', 'test/faults.cu', 'cuda/emulator/fibers.cc'];
    const built = spawnSync(process.env.CXX ?? 'g++', flags, { cwd: kernels, encoding: 'utf8' });
    assert.equal(built.status, 0, built.stderr);
    for (const seed of ['1', '2', '3']) {
      const { stdout, stderr } = spawnSync(program, { encoding: 'utf8', env: { ...process.env, GRAFT_EMULATOR_SEED: seed } });
      assert.equal(stdout, 'mirror 0: wrong\nmirror 1: right\ncount 0: wrong\ncount 1: right\ndivergent: 719\nwarpSum: 0 496 496\n');
      assert.match(stderr, /kernel_divergent: in block [01] 0 of 64 threads have ended, 32 wait at a barrier of the block, 32 at one of their warp/);
    }
  } finally {
    rmSync(out, { recursive: true });
  }
});

const START = "const { useBackend, tf } = await import(SRC + 'index.js'); await useBackend('cuda');";

test('compiled kernels are kept on disk, found again, and made anew where the file is damaged', { skip }, () => {
  const env = emulated(folder), run = (): string[] => {
    const { status, stderr } = script(`${START} tf.add([1, 2], [3, 4]).print();`, env);
    assert.equal(status, 0, stderr);
    return readdirSync(join(env.XDG_CACHE_HOME!, 'graft/cuda'));
  };
  const first = run();
  assert.match(first.join(), /^elementwise-sm_90-[0-9a-f]{32}\.cubin$/);
  assert.deepEqual(run(), first);
  const [kept] = first.map((name) => join(env.XDG_CACHE_HOME!, 'graft/cuda', name)), whole = readFileSync(kept);
  writeFileSync(kept, whole.subarray(0, 3)); // cut short
  assert.deepEqual(run(), first);
  assert.deepEqual(readFileSync(kept), whole);
});

test('what is missing is one clear line', { skip }, () => {
  const line = (env: NodeJS.ProcessEnv): string => {
    const { status, stderr } = script(`try { ${START} } catch (error) { console.error(error.message); process.exit(1); }`, env);
    assert.equal(status, 1);
    return stderr;
  };
  const none = { ...process.env, GRAFT_CUDA: '/nowhere', HOME: '/nowhere', CUDA_HOME: '', CUDA_PATH: '', VIRTUAL_ENV: '', CONDA_PREFIX: '' };
  const { stdout } = spawnSync('sh', ['-c', 'ldconfig -p 2>/dev/null | grep -c libcuda.so.1'], { encoding: 'utf8' });
  if (stdout.trim() === '0') assert.match(line(none), /^cuda: libcuda\.so\.1 was not found: install NVIDIA's driver .*--backend cpu\n$/);
  assert.match(line(emulated(folder, { GRAFT_EMULATOR_CAPABILITY: '75' })), /^cuda: the emulated GPU has compute capability 7\.5; graft needs 8\.0 \(Ampere\) or newer, or --backend cpu\n$/);
});

test('libraries are found in the Python packages of every python3 on PATH, also where it is a link to another environment\'s', { skip }, () => {
  const out = mkdtempSync(join(tmpdir(), 'graft-')), wheel = join(out, 'base/lib/python3.11/site-packages/nvidia/all/lib'), [base, linked] = ['base', 'linked'].map((name) => join(out, name, 'bin'));
  try {
    for (const made of [wheel, base, linked]) mkdirSync(made, { recursive: true });
    for (const name of readdirSync(folder).filter((file) => file.includes('.so'))) symlinkSync(join(folder, name), join(wheel, name));
    writeFileSync(join(base, 'python3'), '');
    symlinkSync(join(base, 'python3'), join(linked, 'python3'));
    const env = { ...emulated(folder), GRAFT_CUDA: '', HOME: '/nowhere', CUDA_HOME: '', CUDA_PATH: '', VIRTUAL_ENV: '', CONDA_PREFIX: '', LD_LIBRARY_PATH: '' };
    const found = (path: string): boolean => script(`${START} const { describeGpu } = await import(SRC + 'device.js'), { native } = await import(SRC + 'native.js'); console.log(describeGpu(native()).name);`, { ...env, PATH: path }).stdout === 'emulated GPU\n';
    assert.deepEqual([`/nowhere:${base}`, linked].map(found), [true, true]);
    if (spawnSync('sh', ['-c', 'ldconfig -p 2>/dev/null | grep -q libcuda.so.1']).status !== 0) assert.ok(!found('/nowhere'));
  } finally {
    rmSync(out, { recursive: true });
  }
});

test('out of memory is one clear line, after what was kept for reuse has been given back', { skip }, () => {
  const env = emulated(folder, { GRAFT_EMULATOR_MEMORY: String(64 << 20) });
  const { status, stdout, stderr } = script(`${START}
    for (let i = 0; i < 4; i++) tf.zeros([(40 + i) << 18]).dispose(); // 40 MiB each, of different sizes
    try { tf.zeros([70 << 18]); } catch (error) { console.log(error.message); }`, env);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^cuda: out of memory: \d+ MiB more do not fit beside 0 MiB in use, of 64 MiB on the emulated GPU\n$/);
});

test('a native function without a kernel on the GPU runs on the host, on memory brought there, and is counted', { skip }, () => {
  const { stdout, stderr } = script(`
    const { native } = await import(SRC + 'native.js');
    delete native()['cuda:softmax'], delete native()['cuda:adamw'];
    const { fallbackCounts } = await import(SRC + 'fallback.js');
    const { useBackend, tf, softmax, adamwStep } = await import(SRC + 'index.js');
    await useBackend('cuda');
    const y = tf.mul(softmax(tf.add(tf.tensor([1, 1]), 0)), 2), zero = () => tf.variable(tf.zeros([2])), p = zero();
    for (let step = 1; step < 3; step++) adamwStep(p, tf.neg(y), zero(), zero(), { lr: 1, beta1: 0, beta2: 0, epsilon: 0, weightDecay: 0, step });
    console.log(JSON.stringify([[...y.dataSync()], [...tf.mul(p, 2).dataSync()], fallbackCounts()]));`, emulated(folder));
  assert.deepEqual(JSON.parse(stdout || JSON.stringify(stderr)), [[1, 1], [4, 4], { 'host:softmax': 1, 'host:adamw': 2 }]);
});

test('bf16: operands of products with frozen weights are rounded, nothing else; the weight is kept in bf16 alone', { skip }, () => {
  for (const library of ['', 'none']) {
    const { stdout, stderr } = script(`
      const { useBackend, tf, linear, openMapped, variableGradients } = await import(SRC + 'index.js'), { writeFileSync } = await import('node:fs');
      const lines = [];
      await useBackend('cuda', { precision: 'bf16', warn: (line) => lines.push(line) });
      const wave = (n, step) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * step)), [rows, width, out] = [5, 24, 9];
      const path = process.env.XDG_CACHE_HOME + '/w', w = wave(out * width, 0.37), x = wave(rows * width, 0.11), round = (a) => {
        const bits = new Uint32Array(Float32Array.from(a).buffer).map((u) => (u + 0x7fff + (u >>> 16 & 1)) & 0xffff0000);
        return new Float32Array(bits.buffer);
      };
      writeFileSync(path, w);
      const W = openMapped(path).tensor(0, [out, width], 'F32'), weights = () => tf.backend().memory().packed;
      const product = (u, v) => Array.from({ length: rows * out }, (_, i) => { let s = 0; for (let k = 0; k < width; k++) s += u[Math.floor(i / out) * width + k] * v[(i % out) * width + k]; return s; });
      const far = (t, want) => Math.max(...t.dataSync().map((y, i) => Math.abs(y - want[i])));
      const X = tf.tensor2d(x, [rows, width]), first = far(linear(X, W), product(round(x), round(w))), kept = weights();
      linear(X, W);
      const dy = wave(rows * out, 0.23), v = tf.variable(X), back = variableGradients(() => tf.sum(tf.mul(linear(v, W), tf.tensor2d(dy, [rows, out]))), [v]).grads.get(v);
      const wanted = Array.from({ length: rows * width }, (_, i) => { let s = 0; for (let k = 0; k < out; k++) s += round(dy)[Math.floor(i / width) * out + k] * round(w)[k * width + i % width]; return s; });
      const fresh = far(linear(X, tf.tensor2d(w, [out, width])), product(x, w));
      console.log(JSON.stringify({ first: first < 1e-5, back: far(back, wanted) < 1e-5, fresh: fresh < 1e-5, differs: far(linear(X, W), product(x, w)) > 1e-4, kept: [kept, weights()], lines: lines.length }));`, emulated(folder, { GRAFT_CUBLASLT: library }));
    const kept = library ? 24 * 9 * 4 : 24 * 9 * 2;
    assert.deepEqual(JSON.parse(stdout || JSON.stringify(stderr)), { first: true, back: true, fresh: true, differs: true, kept: [kept, kept], lines: library ? 1 : 0 });
  }
});

test('tf32: products of all operands round them to 10 bits of fraction', { skip }, () => {
  const { stdout, stderr } = script(`
    const { useBackend, tf } = await import(SRC + 'index.js');
    await useBackend('cuda', { precision: 'tf32' });
    const wave = (n, step) => tf.tensor2d(Float32Array.from({ length: n * n }, (_, i) => Math.sin(i * step + step)), [n, n]), a = wave(24, 0.37), b = wave(24, 0.11);
    const round = (t) => tf.tensor(new Float32Array(new Uint32Array(t.dataSync().buffer.slice(0)).map((u) => (u + 0x1000) & ~0x1fff).buffer), t.shape);
    const far = (x, y) => tf.max(tf.abs(tf.sub(x, y))).dataSync()[0], got = tf.matMul(a, b), rounded = [round(a), round(b)];
    await useBackend('cuda', { precision: 'f32' });
    console.log(JSON.stringify([far(got, tf.matMul(...rounded)) < 1e-5, far(got, tf.matMul(a, b)) > 1e-4]));`, emulated(folder));
  assert.deepEqual(JSON.parse(stdout || JSON.stringify(stderr)), [true, true]);
});

test('bf16: convolutions with frozen filters round as products do, forward and to their input; their filters are kept in bf16', { skip }, () => {
  const { stdout, stderr } = script(`
    const { useBackend, tf, conv2d, openMapped, variableGradients } = await import(SRC + 'index.js'), { writeFileSync } = await import('node:fs');
    await useBackend('cuda', { precision: 'bf16' });
    const round = (a) => new Float32Array(new Uint32Array(Float32Array.from(a).buffer).map((u) => (u + 0x7fff + (u >>> 16 & 1)) & 0xffff0000).buffer);
    const wave = (shape, step) => tf.tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * step + step)), shape), rounded = (t) => tf.tensor(round(t.dataSync()), t.shape);
    const results = [];
    for (const [x, w, options, hwio] of [
      [[2, 9, 7, 16], [32, 16, 3, 3], { padding: 1, stride: 2 }], [[1, 13, 11, 24], [72, 24, 3, 3], { padding: 2, dilation: 2 }], [[2, 5, 6, 32], [48, 16, 3, 3], { padding: 1, groups: 2 }],
      [[3, 8, 8, 40], [24, 40, 1, 1], {}], [[2, 8, 8, 16], [8, 16, 1, 1], { stride: 2 }], [[2, 6, 7, 40], [3, 3, 40, 16], { stride: 1 }, true], [[2, 6, 7, 8], [2, 3, 8, 88], { stride: 2 }, true],
    ]) {
      const X = wave(x, 0.37), W = wave(w, 0.11), path = process.env.XDG_CACHE_HOME + '/w', [to] = hwio ? [w[3]] : w, b = wave([to], 0.5);
      writeFileSync(path, W.dataSync());
      const before = tf.memory().packed, frozen = openMapped(path).tensor(0, w, 'F32'), f = (W, round) => (X) => {
        if (hwio) return tf.conv2d(X, W, options.stride, 'same');
        return conv2d(X, W, b, options);
      };
      const dy = wave(f(W)(X).shape, 0.71), both = (x, w, dy) => {
        const v = tf.variable(x), { value, grads } = variableGradients(() => tf.sum(tf.mul(f(w)(v), dy)), [v]);
        return [f(w)(v), grads.get(v)];
      };
      const got = both(X, frozen, dy), kept = tf.memory().packed - before, wanted = both(rounded(X), rounded(W), rounded(dy)), exact = both(X, W, dy);
      const [y] = wanted, [, dx] = both(X, rounded(W), rounded(dy)), far = (a, b) => tf.max(tf.abs(tf.sub(a, b))).dataSync()[0] / tf.max(tf.abs(b)).dataSync()[0];
      results.push([far(got[0], y) < 1e-5, far(got[1], dx) < 1e-5, far(got[0], exact[0]) > 1e-4, far(got[1], exact[1]) > 1e-4, kept / W.size]);
      frozen.dispose();
    }
    console.log(JSON.stringify(results));`, emulated(folder));
  const results = JSON.parse(stdout || JSON.stringify(stderr)) as unknown[][];
  // Filters HWIO are read as they lie; a 1 × 1 filter with a stride is, too.
  assert.deepEqual(results, [2, 2, 2, 2, 4, 4, 4].map((bytes) => [true, true, true, true, bytes]));
});

test('reads do not hold up other work and give the values of their time', { skip }, () => {
  const { stdout, stderr } = script(`${START}
    const x = tf.tensor([1, 2, 3]), v = tf.variable(tf.zeros([3]));
    const gone = tf.add([1], 1), before = v.data(), late = gone.data(), other = new Promise((done) => setImmediate(() => done('ran')));
    v.assign(x), gone.dispose();
    console.log(JSON.stringify([[...await before], [...await v.data()], await other, [...await late], [...await tf.tensor([7], [1], 'int32').data()], await tf.tensor(['s']).data()]));`, emulated(folder));
  assert.deepEqual(JSON.parse(stdout || JSON.stringify(stderr)), [[0, 0, 0], [1, 2, 3], 'ran', [2], [7], ['s']]);
});

test('offloaded weights are on the GPU only while they are used, those that follow are brought along, and results are the same', { skip }, () => {
  const run = (bytes: number): { values: number[][]; most: number; loans: number[] } => {
    const { stdout, stderr } = script(`
      const { useBackend, tf, linear, openMapped, offloadWeights, variableGradients } = await import(SRC + 'index.js'), { native } = await import(SRC + 'native.js'), { writeFileSync } = await import('node:fs');
      await useBackend('cuda');
      await offloadWeights(${bytes});
      const n = 96, layers = 9, path = process.env.XDG_CACHE_HOME + '/w';
      writeFileSync(path, Float32Array.from({ length: layers * n * n }, (_, i) => Math.sin(i * 0.37) / 8));
      const file = openMapped(path), weights = Array.from({ length: layers }, (_, l) => file.tensor(4 * l * n * n, [n, n], 'F32'));
      const v = tf.variable(tf.tensor2d(Float32Array.from({ length: 5 * n }, (_, i) => Math.cos(i)), [5, n])), values = [];
      let most = 0;
      for (let step = 0; step < 3; step++) {
        const { value, grads } = variableGradients(() => tf.sum(tf.square(weights.reduce((x, W) => (most = Math.max(most, tf.memory().packed), linear(x, W, null, { activation: 'gelu' })), v))), [v]);
        values.push([value.dataSync()[0], ...grads.get(v).dataSync()]);
      }
      const loans = [0, 1].map((i) => native()['cuda:loans'](i));
      for (const W of weights) W.dispose();
      console.log(JSON.stringify({ values, most: most / (4 * n * n), loans, left: tf.memory().packed }));`, emulated(folder));
    const out = JSON.parse(stdout || JSON.stringify(stderr)) as { values: number[][]; most: number; loans: number[]; left: number };
    assert.equal(out.left, 0);
    return out;
  };
  const matrix = 4 * 96 * 96, all = run(0), some = run(8.5 * matrix), few = run(1);
  assert.deepEqual([all.most, all.loans], [9, [0, 0]]);
  assert.deepEqual([some.values, few.values], [all.values, all.values]);
  assert.ok(some.most <= 9 && few.most <= 4, `matrices on the GPU: ${some.most}, ${few.most}`);
  assert.ok(few.loans[0] > 30 && some.loans[0] >= 9, `${few.loans}`);
});
