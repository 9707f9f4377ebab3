import { add, engine, ones, type NamedTensorMap, type Scalar, type Tensor, type Variable } from '@tensorflow/tfjs-core';
import { recording } from './fused.js';

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
  /** Of what `recomputed` ran: computes the outputs again. */
  again?: () => Tensor[];
}

/** What TensorFlow.js keeps internal of its engine. */
interface Tape {
  state: { activeTape: Recorded[] | null; gradientDepth: number };
}

/** Runs `f` on a tape of its own, which the caller frees. */
function taped<T>(f: () => T): { result: T; recorded: Recorded[] } {
  const { state } = engine() as unknown as Tape, outer = state.activeTape, recorded: Recorded[] = [];
  state.activeTape = recorded;
  state.gradientDepth++;
  try {
    return { result: f(), recorded };
  } catch (error) {
    free(recorded);
    throw error;
  } finally {
    state.gradientDepth--;
    state.activeTape = outer;
  }
}

/** Frees what the operations saved for their gradients. */
function free(recorded: readonly Recorded[]): void {
  for (const { saved } of recorded) saved?.forEach((t) => t.dispose());
}

/**
 * Runs `f`, of whose inner activations nothing is kept: the backward pass of `variableGradients` runs it once more when it gets there
 * (gradient checkpointing; Chen et al., 2016, Training deep nets with sublinear memory cost). Gradients are the same to the last bit. `f`
 * must compute the same again, from tensors that live until the gradients are there: those made within the function that is differentiated do.
 */
export function recomputed(f: () => Tensor[]): Tensor[] {
  if (!recording()) return f();
  const { result, recorded } = taped(f), made = new Set(recorded.flatMap((n) => n.outputs.map((t) => t.id)));
  free(recorded);
  const inputs = new Map(recorded.flatMap((n) => Object.values(n.inputs)).filter((t) => !made.has(t.id)).map((t) => [t.id, t]));
  const own = (outputs: Tensor[]): Tensor[] => outputs.filter((_, i) => made.has(result[i].id));
  const { activeTape } = (engine() as unknown as Tape).state;
  activeTape!.push({ kernelName: 'Recomputed', inputs: Object.fromEntries(inputs), outputs: own(result), again: () => own(f()) });
  return result;
}

/**
 * The value of a scalar function and its gradient with respect to variables, as tf.variableGrads gives them; but what an operation saved
 * and the gradients of what it computed are freed as soon as they have been used, not when all is done. A variable that the value does
 * not depend on has no entry. The list is read after `f` has run, which may add to it.
 * @throws Error within another gradient: there is no second derivative
 */
export function variableGradients<V extends Variable>(f: () => Scalar, variables: readonly V[]): { value: Scalar; grads: Map<V, Tensor> } {
  const e = engine();
  if ((e as unknown as Tape).state.gradientDepth > 0) throw new Error('variableGradients cannot be nested');
  let kept: Tensor[] = [];
  e.startScope('forward');
  let open = true;
  const endForward = (): void => {
    if (open) e.endScope(kept);
    open = false;
  };
  try {
    const { result: value, recorded } = taped(f), grads = new Map<V, Tensor>();
    kept = [value];
    // What is computed again reads what was computed before it.
    if (!recorded.some((n) => n.again)) endForward();
    e.startScope('backward');
    try {
      const found = backpropagate(recorded, variables, value);
      for (const v of variables) if (found.has(v.id)) grads.set(v, found.get(v.id)!);
    } finally {
      free(recorded);
      e.endScope([...grads.values()]);
    }
    kept.push(...grads.values());
    return { value, grads };
  } finally {
    endForward();
  }
}

/** Gradients by the id of what they belong to: the variables' when it returns. */
function backpropagate(recorded: Recorded[], variables: readonly Variable[], value: Tensor): Map<number, Tensor> {
  const dependent = new Set(variables.map((v) => v.id)), asked = new Set(dependent);
  const gradients = new Map<number, Tensor>([[value.id, ones(value.shape)]]);
  const walk = (nodes: Recorded[]): void => {
    const onPath = nodes.map(({ inputs, outputs }) => {
      const depends = Object.values(inputs).some((t) => dependent.has(t.id));
      if (depends) for (const t of outputs) dependent.add(t.id);
      return depends;
    });
    for (let i = nodes.length - 1; i >= 0; i--) {
      const node = nodes[i];
      if (onPath[i] && node.outputs.some((t) => gradients.has(t.id))) {
        if (node.again) runAgain(node);
        else differentiate(node);
      }
      node.saved?.forEach((t) => t.dispose());
      node.saved = undefined;
    }
  };
  const runAgain = ({ outputs, again }: Recorded): void => {
    const { result, recorded: inner } = taped(again!);
    outputs.forEach((t, i) => {
      const dy = gradients.get(t.id);
      if (dy) gradients.set(result[i].id, dy);
      gradients.delete(t.id);
    });
    walk(inner);
    for (const t of result) t.dispose();
  };
  const differentiate = (node: Recorded): void => {
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
  };
  walk(recorded);
  return gradients;
}
