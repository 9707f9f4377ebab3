import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D } from '@tensorflow/tfjs-core';
import { setImmediate } from 'node:timers/promises';
import { GraftBackend } from './backend.js';
import type { Precision } from './backends.js';
import { startGpu } from './device.js';
import type { Drawn, Sampling } from './distribution.js';
import { countFallback } from './fallback.js';
import type { Native, NativeArgument } from './native.js';
import type { Sampler } from './ops/sample.js';
import type { Recorder } from './repeated.js';

/** graft-cpu's functions, with those that kernels/cuda has in their places. What is left runs on the host, on memory brought there, and is counted. */
function cudaFunctions(addon: Native): Native {
  const functions: Native = {};
  for (const [name, onHost] of Object.entries(addon)) {
    if (name.startsWith('cuda:')) continue;
    functions[name] = addon[`cuda:${name}`] ?? ((...args: NativeArgument[]): number => {
      const before = addon['cuda:counters'](3);
      const result = onHost(...args);
      if (addon['cuda:counters'](3) > before) countFallback(`host:${name}`);
      return result;
    });
  }
  return functions;
}

/** graft-cpu with its tensors and its kernels on an NVIDIA GPU. */
export class GraftCudaBackend extends GraftBackend implements Sampler {
  /** @throws Error, one line, for the first thing that is missing: driver, NVRTC, GPU */
  constructor(private readonly addon: Native, device = 0) {
    startGpu(addon, device);
    super('graft-cuda', cudaFunctions(addon));
  }

  /** Whether matrix products go through cuBLASLt, and not through our own kernel. */
  get multipliesFast(): boolean {
    return this.addon['cuda:blas']() === 1;
  }

  /** How operands go into matrix products; sums are float32. */
  usePrecision(precision: Precision): void {
    this.addon['cuda:precision']({ f32: 0, tf32: 1, bf16: 2, int8: 2, nf4: 2 }[precision]);
  }

  /** Recordings of queued work (cuda/graph.cc). */
  readonly recorder: Recorder = {
    record: () => this.addon['cuda:record'](),
    recorded: (id) => void this.addon['cuda:recorded'](id),
    repeat: (id) => this.addon['cuda:repeat'](id) === 1,
    forget: (id) => void this.addon['cuda:forget'](id),
    trace: (yes) => this.addon['cuda:trace'](yes),
    assign: (to, from) => void this.addon['cuda:assign'](this.handle(to), this.handle(from)),
  };

  /** A token from each row of logits, which stay on the GPU: ops/sample.ts. */
  sampleRows(logits: Tensor2D, uniforms: readonly number[], { temperature, topK, topP, minP }: Sampling): Drawn[] {
    const tokens = new Int32Array(uniforms.length), scores = new Float64Array(uniforms.length);
    this.addon['cuda:sample'](this.handle(logits), Float64Array.from(uniforms), tokens, scores, logits.shape[1], temperature, topK, topP, minP);
    return Array.from(tokens, (token, i) => ({ token, score: scores[i] }));
  }

  /** Frozen matrices take no more than so many bytes of the GPU at a time (0: all that are used stay there) and come to it as they are needed. */
  offload(bytes: number): void {
    this.addon['cuda:offload'](bytes);
  }

  /** Lets other work run while the GPU gets there. */
  override async read(dataId: object): Promise<tf.backend_util.BackendValues> {
    const { handle, dtype } = this.data.get(dataId);
    if (handle === undefined) return this.readSync(dataId);
    const ticket = this.addon['cuda:ask'](handle);
    if (ticket < 0) return this.readSync(dataId); // the host has it
    const out = this.room(handle, dtype); // the tensor may be gone when its values arrive
    while (!this.addon['cuda:arrived'](ticket)) await setImmediate();
    this.addon['cuda:take'](ticket, out);
    return out;
  }
}
