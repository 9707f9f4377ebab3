import * as tf from '@tensorflow/tfjs-core';
import { GraftBackend } from './backend.js';

/** What a backend offers that can record queued work and queue it again: recordings by number. */
export interface Recorder {
  /** From here on work is recorded and not run. @returns the recording's number */
  record(): number;
  recorded(id: number): void;
  /** False where tensors that the recording uses are gone. */
  repeat(id: number): boolean;
  forget(id: number): void;
  /** Starts or ends a sum over what is queued, but for addresses. @returns the last sum */
  trace(yes: boolean): number;
  /** Gives a tensor the values of another, in the memory it has. */
  assign(to: tf.TensorInfo, from: tf.TensorInfo): void;
}

/** One kind of call: `sum` over the work it queued; -1 for a recording where it cannot be recorded. */
interface Known { inputs: tf.Tensor[]; sum: number; recording?: number; outputs: tf.Tensor[] }

type Work = (inputs: tf.Tensor[]) => tf.Tensor[];

/**
 * A function of tensors that is called again and again. On a GPU the second call of a kind is recorded as a CUDA graph, and every later
 * one queues it whole: no JavaScript runs then, and no kernel waits for the one before it to be launched.
 *
 * What `f` reads of its inputs it may read on the device alone, and whatever else it does may depend on nothing but the key and on
 * tensors that stay where they are (trained variables, frozen weights). A call that queues other work or other numbers of the host than
 * the one before it under the same key, or that reads values back, runs as it is, and so do all further ones under that key.
 */
export class Repeated {
  private readonly known = new Map<string, Known>();
  /** How many recordings were made, and how often one was queued. */
  readonly counts = { recorded: 0, repeated: 0 };

  /** @param most recordings that are kept, each with the memory its work takes */
  constructor(private readonly most = 2) {}

  /** @returns what `f` does, as tensors of the caller's; `f` is not called where its work is queued from a recording */
  run(key: string, inputs: tf.Tensor[], f: Work): tf.Tensor[] {
    const backend = tf.backend() as GraftBackend & { recorder?: Recorder }, { recorder } = backend;
    if (!recorder) return f(inputs);
    const kind = [key, ...inputs.map((t) => `${t.dtype}[${t.shape}]`)].join(' ');
    const known = this.known.get(kind);
    if (!known) return this.meet(kind, inputs, f, backend, recorder);
    if (known.recording === -1) return f(inputs);
    known.inputs.forEach((to, i) => recorder.assign(to, inputs[i]));
    if (known.recording === undefined && !this.record(known, f, recorder)) return f(inputs);
    if (!recorder.repeat(known.recording!)) {
      this.forget(kind);
      return f(inputs);
    }
    this.counts.repeated++;
    return known.outputs.map((t) => copy(t, backend, recorder));
  }

  dispose(): void {
    for (const kind of [...this.known.keys()]) this.forget(kind);
  }

  /** The first call of a kind runs as it is. */
  private meet(kind: string, inputs: tf.Tensor[], f: Work, backend: GraftBackend, recorder: Recorder): tf.Tensor[] {
    const known: Known = { inputs: inputs.map((t) => tf.keep(copy(t, backend, recorder))), sum: 0, outputs: [] };
    recorder.trace(true);
    let outputs: tf.Tensor[];
    try {
      outputs = f(known.inputs);
    } finally {
      known.sum = recorder.trace(false);
    }
    this.known.set(kind, known);
    for (const old of [...this.known.keys()].slice(0, -this.most)) this.forget(old);
    return outputs;
  }

  private record(known: Known, f: Work, recorder: Recorder): boolean {
    const id = recorder.record();
    recorder.trace(true);
    try {
      known.outputs = f(known.inputs).map((t) => tf.keep(t));
      if (recorder.trace(false) !== known.sum) throw new Error('the work differs from call to call');
      recorder.recorded(id);
      known.recording = id;
      this.counts.recorded++;
    } catch {
      // Nothing has run. What is wrong with it, if anything is, will show when it runs as it is.
      recorder.trace(false);
      tf.dispose(known.outputs);
      recorder.forget(id);
      tf.dispose(known.inputs);
      known.recording = -1;
    }
    return known.recording !== -1;
  }

  private forget(kind: string): void {
    const { inputs, outputs, recording } = this.known.get(kind)!;
    this.known.delete(kind);
    if (recording === -1) return;
    tf.dispose([...inputs, ...outputs]);
    const { recorder } = tf.backend() as unknown as { recorder: Recorder };
    if (recording !== undefined) recorder.forget(recording);
  }
}

function copy(t: tf.Tensor, backend: GraftBackend, recorder: Recorder): tf.Tensor {
  const info = backend.output(t.shape, t.dtype as 'float32');
  recorder.assign(info, t);
  return tf.engine().makeTensorFromTensorInfo(info, backend);
}
