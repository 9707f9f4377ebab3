import * as tf from '@tensorflow/tfjs-core';
import { defineKernel, type KernelCall } from '../backend.js';
import { runFallback } from '../fallback.js';

export type NativeType = 'float32' | 'int32' | 'bool';

/** A native kernel for float32, int32 and bool; with strings or complex64 among its inputs TensorFlow.js's JavaScript kernel runs instead. */
export function defineNumeric<A = Record<string, never>>(name: string, run: (call: KernelCall<A>) => tf.TensorInfo | tf.TensorInfo[]): void {
  defineKernel<A>(name, (call) => {
    const numeric = Object.values(call.inputs).every((t) => !t || (t.dtype !== 'string' && t.dtype !== 'complex64'));
    return numeric ? run(call) : fallBack(name, call);
  });
}

/** What TensorFlow.js's JavaScript kernel of this name gives, for a call that its native one does not serve. */
export const fallBack = <A>(name: string, call: KernelCall<A>): tf.TensorInfo | tf.TensorInfo[] =>
  runFallback(name, call.backend.name, call as unknown as Parameters<tf.KernelFunc>[0]);

/** The dtype of a tensor already known to be numeric. */
export const typeOf = (t: tf.TensorInfo): NativeType => t.dtype as NativeType;

export const sameShape = (a: readonly number[], b: readonly number[]): boolean => a.length === b.length && a.every((n, i) => n === b[i]);
