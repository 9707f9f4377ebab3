import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { linear, tf, useBackend } from '@graft/kernels';

/** Median seconds of one call, over several timed after a warm-up; the result is read back so that nothing is put off. */
function seconds(f: () => tf.Tensor, runs = 9): number {
  const once = (): number => {
    const start = performance.now();
    tf.tidy(() => { f().dataSync(); });
    return (performance.now() - start) / 1000;
  };
  once();
  const times = Array.from({ length: runs }, once).sort((a, b) => a - b);
  return times[runs >> 1];
}

/** One piece of work that every backend can do. @param flop floating-point operations of one call */
interface Work { name: string; flop: number; make(): { run: () => tf.Tensor; free: () => void } }

const product = (m: number, k: number, n: number): Work => ({
  name: `product ${m}×${k}×${n}`, flop: 2 * m * k * n,
  make() {
    const x = tf.randomNormal([m, k]), W = tf.randomNormal([n, k]) as tf.Tensor2D;
    return { run: () => linear(x, W), free: () => tf.dispose([x, W]) };
  },
});

const conv = (B: number, side: number, C: number): Work => ({
  name: `convolution 3×3, ${B} images ${side}×${side}×${C}`, flop: 2 * B * side * side * C * C * 9,
  make() {
    const x = tf.randomNormal([B, side, side, C]) as tf.Tensor4D, w = tf.randomNormal([3, 3, C, C]) as tf.Tensor4D;
    return { run: () => tf.conv2d(x, w, 1, 'same'), free: () => tf.dispose([x, w]) };
  },
});

const WORK: Work[] = [product(512, 512, 512), product(1024, 1024, 1024), product(4096, 384, 384), product(4096, 384, 1536), conv(100, 32, 16), conv(100, 8, 64)];

/** Runs all work on graft-cpu and on TensorFlow.js's WebAssembly backend, and prints how many times faster graft-cpu is. */
async function main(): Promise<void> {
  const measured: Record<string, number[]> = {};
  for (const backend of ['cpu', 'wasm'] as const) {
    await useBackend(backend);
    for (const { name, make } of WORK) {
      const { run, free } = make();
      (measured[name] ??= []).push(seconds(run));
      free();
    }
  }
  const results = WORK.map(({ name, flop }) => {
    const [own, wasm] = measured[name];
    return { name, gflops: flop / own / 1e9, wasmGflops: flop / wasm / 1e9, ratio: wasm / own };
  });
  console.log('work'.padEnd(46) + 'graft-cpu'.padStart(12) + 'wasm'.padStart(10) + 'ratio'.padStart(8) + '   (GFLOP/s)');
  for (const r of results) console.log(r.name.padEnd(46) + r.gflops.toFixed(1).padStart(12) + r.wasmGflops.toFixed(1).padStart(10) + r.ratio.toFixed(1).padStart(8));
  const folder = new URL('../../../test/bench/results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL('kernels.json', folder), `${JSON.stringify({ cpu: cpus()[0].model, cores: cpus().length, results }, null, 2)}\n`);
}

await main();
