/**
 * What the GPU gives graft-cuda: rates.js [--tiny] prints a JSON object a line: { gpu, libraries }, then { name, value, unit }. On the emulator, --tiny: the numbers
 * mean nothing there, but they are reached the same way.
 */
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { linear, openMapped, tf, useBackend, type Tensor, type Tensor2D } from '@graft/kernels';
import { gpu } from '@graft/kernels/machine';

const tiny = process.argv.includes('--tiny');
await useBackend('cuda', { precision: 'bf16' });

/** Waits for all that was queued before. */
const settled = (t: Tensor): void => { tf.tidy(() => tf.slice(tf.reshape(t, [-1]), 0, 1).dataSync()); };

/** Seconds of one run, the best of several: `f` gives the tensor to wait for. */
function seconds(f: () => Tensor, times: number): number {
  const once = (n: number): number => {
    const start = performance.now();
    let last: Tensor | undefined;
    for (let i = 0; i < n; i++) {
      last?.dispose();
      last = f();
    }
    settled(last!);
    last!.dispose();
    return (performance.now() - start) / 1000 / n;
  };
  once(1);
  return Math.min(once(times), once(times), once(times));
}

const say = (name: string, value: number, unit: string): void => { process.stdout.write(`${JSON.stringify({ name, value: Number(value.toPrecision(4)), unit })}\n`); };

/** A layer of a checkpoint that is stored in bf16. */
function frozen(n: number): Tensor2D {
  const folder = mkdtempSync(join(tmpdir(), 'graft-bench-')), path = join(folder, 'w');
  writeFileSync(path, Uint16Array.from({ length: n * n }, (_, i) => 0x3c00 + ((i * 2654435761) >>> 24) + ((i & 1) << 15)));
  const file = openMapped(path), W = file.tensor(0, [n, n], 'BF16') as Tensor2D;
  file.close();
  rmSync(folder, { recursive: true });
  return W;
}

const n = tiny ? 64 : 8192, times = tiny ? 1 : 20;
const W = frozen(n), x = tf.randomNormal([n, n]) as Tensor2D;
say(`products with frozen weights in bf16, ${n}³`, 2 * n ** 3 / seconds(() => linear(x, W), times) / 1e12, 'TFLOP/s');
const half = tf.randomNormal([n / 2, n / 2]) as Tensor2D;
say(`products in f32, ${n / 2}³`, 2 * (n / 2) ** 3 / seconds(() => tf.matMul(half, half), times) / 1e12, 'TFLOP/s');
say('memory, by a sum of two tensors', 12 * n * n / seconds(() => tf.add(x, x), times) / 1e9, 'GB/s');
const values = new Float32Array(n * n / 4);
say('to the GPU', 4 * values.length / seconds(() => tf.tensor(values), tiny ? 1 : 3) / 1e9, 'GB/s');
const start = performance.now();
x.dataSync();
say('from the GPU', 4 * n * n / ((performance.now() - start) / 1000) / 1e9, 'GB/s');
const few = tf.ones([32]);
say('a small operation, from its call on', 1e6 * seconds(() => tf.add(few, few), tiny ? 5 : 5000), 'µs');

/** NVIDIA's libraries in this process, whose names end in their versions. */
const libraries = [...new Set(readFileSync('/proc/self/maps', 'utf8').match(/\/\S*(?:libcuda|libnvrtc|libcublasLt)\.so\S*/g) ?? [])].map((path) => basename(realpathSync(path))).sort();
process.stdout.write(`${JSON.stringify({ gpu: gpu(), libraries })}\n`);
