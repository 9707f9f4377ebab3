import { Repeated, tf, type Scalar, type Tensor, type Tensor1D, type Variable } from '@graft/kernels';
import type { ActiveGraft } from '../adapters/active.js';
import type { Batch } from '../models/model.js';
import type { Pass } from '../models/site.js';
import type { Objective, Targets } from '../objectives/objective.js';
import { totalLoss } from '../objectives/scored.js';

/** More kinds of batches than `Repeated` remembers. */
const KINDS = 8;

/** A batch with what it is scored against. */
export interface Given { inputs: Batch; targets: Targets; route: Pass['route'] }

export interface Found { value: Scalar; grads: Map<Variable, Tensor> }

/**
 * Gradients of batches that are recorded on a GPU as CUDA graphs: those of one shape, with scored tokens in the same places, differ only in
 * tokens, pixels and labels. Left alone are methods that act between steps or look into the pass, whose work may change with the step.
 */
export class RecordedGradients {
  private readonly repeated = new Repeated();
  /** What has a gradient, by the kind of batch. */
  private readonly reached = new Map<string, Variable[]>();

  static suits = (objective: Objective, { method }: ActiveGraft): boolean =>
    objective.loss === totalLoss && ![method.afterBackward, method.afterStep, method.auxiliary, method.weightGradients, method.taps].some(Boolean);

  /** @param more what else the work depends on */
  run(given: Given, more: unknown[], variables: readonly Variable[], gradients: (given: Given) => Found): Found {
    const { inputs, targets, route } = given, { labels, weights, positions } = targets;
    const names = Object.entries(inputs).filter(([, value]) => value instanceof tf.Tensor).map(([name]) => name);
    const own = [tf.tensor1d(labels, 'int32'), ...(weights ? [tf.tensor1d(weights)] : [])];
    const key = JSON.stringify([more, route, positions && [...positions], 'lengths' in inputs && inputs.lengths]);
    const outputs = this.repeated.run(key, [...names.map((name) => (inputs as unknown as Record<string, Tensor>)[name]), ...own], (tensors) => {
      const [known, [l, w]] = [tensors.slice(0, names.length), tensors.slice(names.length) as Tensor1D[]];
      const { value, grads } = gradients({
        ...given, inputs: { ...inputs, ...Object.fromEntries(names.map((name, i) => [name, known[i]])) } as Batch, targets: { ...targets, tensors: { labels: l, ...(w && { weights: w }) } },
      });
      const reached = variables.filter((v) => grads.has(v));
      this.reached.set(key, reached);
      if (this.reached.size > KINDS) this.reached.delete(this.reached.keys().next().value!);
      return [value, ...reached.map((v) => grads.get(v)!)];
    });
    tf.dispose(own);
    const [value, ...found] = outputs;
    return { value: value as Scalar, grads: new Map(this.reached.get(key)!.map((v, i) => [v, found[i]])) };
  }

  get counts(): Repeated['counts'] {
    return this.repeated.counts;
  }

  dispose(): void {
    this.repeated.dispose();
  }
}
