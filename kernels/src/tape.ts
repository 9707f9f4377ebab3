import { add, engine, ones, type NamedTensorMap, type Scalar, type Tensor, type Variable } from '@tensorflow/tfjs-core';

/**
 * Runs `f` without recording it for gradients, even inside a gradient function. The frozen part of a model below the
 * first trained site runs this way, so none of its activations outlive their use.
 */
export function untracked<T>(f: () => T): T {
  // A kernel called from within a kernel is not recorded; the engine has no public switch for the same thing.
  const { state } = engine();
  state.kernelDepth++;
  try {
    return f();
  } finally {
    state.kernelDepth--;
  }
}

/** Runs `f` and frees every tensor it made and did not keep; like tf.tidy, for results that are no tensors. */
export function scoped<T>(f: () => T): T {
  engine().startScope();
  try {
    return f();
  } finally {
    engine().endScope();
  }
}

/** An operation as the engine records it. */
interface Recorded {
  kernelName: string;
  inputs: NamedTensorMap;
  outputs: Tensor[];
  saved?: Tensor[];
  gradient?: (dys: (Tensor | null)[]) => Record<string, (before?: Tensor) => Tensor>;
}

/** What TensorFlow.js keeps internal of its engine. */
interface Tape {
  state: { activeTape: Recorded[] | null; gradientDepth: number };
  startTape(): void;
  endTape(): void;
  scopedRun<T>(start: () => void, end: () => void, f: () => T): T;
}

/**
 * The value of a scalar function and its gradient with respect to variables, as tf.variableGrads gives them; but what an operation saved
 * and the gradients of what it computed are freed as soon as they have been used, not when all is done. A variable that the value does
 * not depend on has no entry. The list is read after `f` has run, which may add to it.
 * @throws Error within another gradient: there is no second derivative
 */
export function variableGradients<V extends Variable>(f: () => Scalar, variables: readonly V[]): { value: Scalar; grads: Map<V, Tensor> } {
  const e = engine(), tape = e as unknown as Tape;
  if (tape.state.gradientDepth > 0) throw new Error('variableGradients cannot be nested');
  const value = tape.scopedRun(() => tape.startTape(), () => tape.endTape(), () => e.tidy(f) as Scalar);
  const recorded = tape.state.activeTape!;
  tape.state.activeTape = null;
  const grads = new Map<V, Tensor>();
  e.startScope('backward');
  try {
    const found = backpropagate(recorded, variables, value);
    for (const v of variables) if (found.has(v.id)) grads.set(v, found.get(v.id)!);
  } finally {
    for (const { saved } of recorded) saved?.forEach((t) => t.dispose());
    e.endScope([...grads.values()]);
  }
  return { value, grads };
}

/** Gradients by the id of what they belong to: the variables' when it returns. */
function backpropagate(recorded: Recorded[], variables: readonly Variable[], value: Tensor): Map<number, Tensor> {
  const dependent = new Set(variables.map((v) => v.id)), asked = new Set(dependent);
  const onPath = recorded.map(({ inputs, outputs }) => {
    const depends = Object.values(inputs).some((t) => dependent.has(t.id));
    if (depends) for (const t of outputs) dependent.add(t.id);
    return depends;
  });
  const gradients = new Map<number, Tensor>([[value.id, ones(value.shape)]]);
  for (let i = recorded.length - 1; i >= 0; i--) {
    const node = recorded[i];
    if (onPath[i] && node.outputs.some((t) => gradients.has(t.id))) {
      const dys = node.outputs.map((t) => gradients.get(t.id) ?? null);
      if (!node.gradient) throw new Error(`${node.kernelName} has no gradient`);
      const functions = node.gradient(dys);
      // One tensor may serve several inputs, or be dy itself: each holder gets an alias of its own.
      const held = new Set(dys.map((t) => t?.id));
      engine().tidy(() => Object.entries(node.inputs).filter(([, x]) => dependent.has(x.id)).map(([name, x]) => {
        const before = gradients.get(x.id), adds = before !== undefined && functions[name].length > 0;
        const given = functions[name](adds ? before : undefined), dx = held.has(given.id) ? given.clone() : given;
        held.add(given.id);
        const sum = before && !adds ? add(before, dx) : dx;
        gradients.set(x.id, sum);
        before?.dispose();
        return sum;
      }));
      for (const t of node.outputs) {
        if (asked.has(t.id)) continue;
        gradients.get(t.id)?.dispose();
        gradients.delete(t.id);
      }
    }
    node.saved?.forEach((t) => t.dispose());
    node.saved = undefined;
  }
  return gradients;
}
