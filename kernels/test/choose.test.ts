import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { choose, type Facts } from '../src/choose.js';
import { useBackend } from '../src/index.js';

const PLAIN: Facts = { precision: 'f32', addon: true, cuda: { missing: 'libcuda.so.1 was not found: install it' }, gpu: false, tensorflow: true };
const H200 = { name: 'NVIDIA H200', capability: '9.0', multiprocessors: 132, memory: 1.5e11, cuda: '13.0', nvrtc: '13.0', blas: true };
const names = (facts: Partial<Facts>): string[] => choose({ ...PLAIN, ...facts }).map((c) => c.backend);

test('auto is the GPU where graft-cuda starts, TensorFlow where only that may, the processor elsewhere', () => {
  assert.deepEqual(names({}), ['cpu']);
  assert.deepEqual(names({ cuda: H200, gpu: true }), ['cuda']);
  assert.deepEqual(names({ gpu: true }), ['tensorflow', 'cpu']);
  assert.deepEqual(names({ gpu: true, tensorflow: false }), ['cpu']);
  assert.deepEqual(names({ gpu: true, precision: 'bf16' }), ['cpu'], 'TensorFlow multiplies in f32 only');
  assert.deepEqual(names({ addon: false, cuda: { missing: 'the native backend was not built' } }), ['wasm']);
  assert.deepEqual(names({ wished: 'wasm', cuda: H200 }), ['wasm']);
  assert.throws(() => names({ wished: 'gpu' }), { message: "GRAFT_BACKEND is 'gpu', none of auto, cpu, cuda, tensorflow, webgpu, wasm" });
});

test('it says why, and warns of a GPU that is left idle', () => {
  const [idle] = choose({ ...PLAIN, gpu: true, tensorflow: false }), [none] = choose(PLAIN), [used] = choose({ ...PLAIN, cuda: H200 });
  assert.equal(idle.warning, 'there is a GPU, but graft-cuda cannot use it: libcuda.so.1 was not found: install it');
  assert.deepEqual([none.because, none.warning], ['no GPU: libcuda.so.1 was not found', undefined]);
  assert.equal(used.because, 'NVIDIA H200, compute capability 9.0; the driver serves CUDA 13.0; NVRTC 13.0; with cuBLASLt');
});

const folder = mkdtempSync(join(tmpdir(), 'graft-test-'));
after(() => rmSync(folder, { recursive: true }));

/** Pretends that a package of TensorFlow's is installed: this is its main module. */
function pretend(text: string): void {
  const at = join(folder, 'node_modules/@tensorflow/tfjs-node-gpu');
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, 'package.json'), '{ "name": "@tensorflow/tfjs-node-gpu", "main": "index.js" }');
  writeFileSync(join(at, 'index.js'), text);
}

test('TensorFlow that is not there, or broken, is one line with what to do', async () => {
  const before = process.env.GRAFT_TENSORFLOW;
  process.env.GRAFT_TENSORFLOW = folder;
  try {
    await assert.rejects(useBackend('tensorflow'), (error: Error) => {
      assert.match(error.message, /^backend 'tensorflow' needs a package that is not installed in \/.*: npm install @tensorflow\/tfjs-node-gpu \(.*CUDA 11\.2 and cuDNN 8\.1\)[^\n]*$/);
      return true;
    });
    pretend("throw new Error('libtensorflow.so.2: cannot open shared object file\\nmore')");
    await assert.rejects(useBackend('tensorflow'), (error: Error) => {
      assert.match(error.message, /^backend 'tensorflow': @tensorflow\/tfjs-node-gpu is installed, but does not load \(libtensorflow\.so\.2: cannot open shared object file\): npm rebuild [^\n]*CUDA 11\.2[^\n]*$/);
      return true;
    });
    await assert.rejects(useBackend('tensorflow', { precision: 'bf16' }), { message: "backend 'tensorflow' multiplies in f32 only: leave out --precision bf16" });
  } finally {
    if (before === undefined) delete process.env.GRAFT_TENSORFLOW;
    else process.env.GRAFT_TENSORFLOW = before;
  }
});
