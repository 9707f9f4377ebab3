import { engine, getBackend, getKernel, Variable, type NamedAttrMap, type NamedTensorMap, type Tensor, type TensorInfo } from '@tensorflow/tfjs-core';

/** Whether the current backend has this kernel; a fused operation runs its reference where it has not. */
export function hasKernel(name: string): boolean {
  return getKernel(name, getBackend()) !== undefined;
}

/** Runs one kernel of the current backend. */
export function runKernel<T extends Tensor | Tensor[] = Tensor>(name: string, inputs: Record<string, Tensor | null | undefined>, attrs: object = {}): T {
  const given = Object.fromEntries(Object.entries(inputs).filter(([, t]) => t));
  return engine().runKernel(name, given as NamedTensorMap, attrs as NamedAttrMap) as T;
}

type Save = (tensors: Tensor[]) => void;
/** A function with a parameter adds to its result what it is given: the gradient that other uses of the same tensor have sent. */
type Gradients = Record<string, (before?: Tensor) => Tensor>;

/**
 * An operation with its own gradient. `forward(save, recording)` computes the output from kernels that are not recorded;
 * it saves what the gradient will need (free when nothing is recorded). `gradient(dy, saved)` gives one function per input,
 * each called only if something upstream asks for that input's gradient: a frozen weight costs nothing.
 *
 *     return withGradient({ x, W }, (save) => { save([x, W]); return runKernel('My', { x, W }); },
 *       (dy, [x, W]) => ({ x: () => tf.matMul(dy, W, false, true), W: () => tf.matMul(x, dy, true, false) }));
 *
 * Save only inputs and outputs of the operation, or tensors made inside it. Where `forward` gives several outputs, so is dy a list.
 */
export function withGradient<T extends Tensor | Tensor[]>(
  inputs: Record<string, Tensor | null | undefined>,
  forward: (save: Save, recording: boolean) => T,
  gradient: (dy: T, saved: Tensor[]) => Gradients,
): T {
  const given = Object.fromEntries(Object.entries(inputs).filter(([, t]) => t)) as NamedTensorMap;
  const active = recording();
  // The engine's form of tf.customGrad whose gradients are functions; TensorFlow.js keeps it internal.
  const e = engine() as unknown as { runKernelFunc(params: object): unknown };
  return e.runKernelFunc({
    inputs: given,
    attrs: {},
    forwardFunc: (_backend: unknown, save: Save) => forward(save, active),
    backwardsFunc: (dy: T, saved: Tensor[]) => gradient(dy, saved),
  }) as T;
}

/** What several gradients of one operation start from: computed when first asked for, and again where it was freed since (tf.grads frees it after each). */
export function shared(f: () => Tensor): () => Tensor {
  let known: Tensor | undefined;
  return () => (known && !known.isDisposed ? known : (known = f()));
}

/** Whether operations are being recorded for gradients now. */
export function recording(): boolean {
  const { state } = engine();
  return state.gradientDepth > 0 && state.kernelDepth === 0;
}

const frozenIds = new WeakSet<object>();

/** Marks a tensor's values as never trained and never changed: operations then keep nothing for its gradient. Mapped weights are. */
export function markFrozen<T extends TensorInfo>(t: T): T {
  frozenIds.add(t.dataId);
  return t;
}

export function isFrozen(t: TensorInfo): boolean {
  return frozenIds.has(t.dataId);
}

/** Frozen and not a variable that merely starts from such memory: no gradient will be asked for. */
export function isConstant(t: Tensor): boolean {
  return isFrozen(t) && !(t instanceof Variable);
}
