// Every kernels/cuda/*.cu compiles for the architectures graft is made for, where NVIDIA's compiler is at hand (pip install nvidia-cuda-nvrtc-cu12,
// with VIRTUAL_ENV or GRAFT_CUDA saying where). GRAFT_TEST_NVRTC: more folders with a libnvrtc, separated by colons.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { CUDA_SOURCES } from '../src/device.js';
import { native } from '../src/native.js';
import { script } from './emulator.js';

const files = readdirSync(CUDA_SOURCES).filter((name) => name.endsWith('.cu')).map((name) => name.slice(0, -3));
const ARCHITECTURES = ['sm_80', 'sm_90', 'sm_100'];

/** Compiles everything in a process of its own, which keeps to one library. */
const COMPILE = `
  const { native } = await import(SRC + 'native.js');
  const [folder, files, architectures] = JSON.parse(process.env.COMPILE), sizes = {};
  for (const file of files) for (const to of architectures)
    sizes[file + ' ' + to] = native()['cuda:compile'](folder, file, to);
  console.log(JSON.stringify(sizes));`;

for (const folder of ['', ...(process.env.GRAFT_TEST_NVRTC ?? '').split(':').filter(Boolean)]) {
  test(`every kernel compiles for ${ARCHITECTURES.join(', ')}${folder && ` with ${folder}`}`, { skip: native() ? false : 'the native backend was not built' }, (t) => {
    const env = { ...process.env, ...(folder && { GRAFT_CUDA: folder }), COMPILE: JSON.stringify([CUDA_SOURCES, files, ARCHITECTURES]) };
    const { status, stdout, stderr } = script(COMPILE, env);
    if (stderr.includes('libnvrtc.so.13 or .12 was not found')) return t.skip('no NVRTC here: pip install nvidia-cuda-nvrtc-cu12');
    assert.equal(status, 0, stderr);
    const sizes = Object.values(JSON.parse(stdout) as Record<string, number>);
    assert.equal(sizes.length, files.length * ARCHITECTURES.length);
    assert.ok(Math.min(...sizes) > 1000, stdout);
  });
}
