import { adamwStep, tf, type Tensor, type Variable } from '@graft/kernels';
import { ownValues } from './network.js';

/** Adam over named tensors, with its moments as state that can be stored. */
export class Adam {
  private readonly m = new Map<string, Variable>();
  private readonly v = new Map<string, Variable>();
  private steps = 0;

  constructor(private readonly params: ReadonlyMap<string, Variable>, private readonly options: { lr: number; beta1: number; beta2: number; epsilon: number; weightDecay: number }) {
    for (const [name, p] of params) {
      this.m.set(name, zeros(p));
      this.v.set(name, zeros(p));
    }
  }

  step(grads: ReadonlyMap<string, Tensor>): void {
    this.steps++;
    for (const [name, p] of this.params) adamwStep(p, grads.get(name)!, this.m.get(name)!, this.v.get(name)!, { ...this.options, step: this.steps });
  }

  state(): [string, Tensor][] {
    return [['adam.steps', tf.scalar(this.steps, 'int32')], ...prefixed('adam.m.', this.m), ...prefixed('adam.v.', this.v)];
  }

  restore(state: ReadonlyMap<string, Tensor>): void {
    this.steps = state.get('adam.steps')!.dataSync()[0];
    assign(this.m, state, 'adam.m.');
    assign(this.v, state, 'adam.v.');
  }

  dispose(): void {
    for (const t of [...this.m.values(), ...this.v.values()]) t.dispose();
  }
}

const zeros = (p: Tensor): Variable => tf.tidy(() => tf.variable(tf.zerosLike(p), false));

/** Tensors under a common prefix, for a state that holds several sets. */
export const prefixed = (prefix: string, tensors: ReadonlyMap<string, Tensor>): [string, Tensor][] => [...tensors].map(([n, t]) => [prefix + n, t]);

/** Puts the prefixed tensors of a state back into the variables of the same names. */
export function assign(variables: ReadonlyMap<string, Variable>, state: ReadonlyMap<string, Tensor>, prefix: string): void {
  for (const [name, v] of variables) tf.tidy(() => v.assign(ownValues(state.get(prefix + name)!)));
}

/** The options of Adam as the 32×32 benchmarks set them. */
export const adamOptions = (lr: number) => ({
  lr: { type: 'number', describe: 'learning rate of Adam', default: lr, min: 0 },
  beta1: { type: 'number', describe: 'decay of Adam\'s first moment', default: 0.9, min: 0, max: 1 },
  beta2: { type: 'number', describe: 'decay of Adam\'s second moment', default: 0.999, min: 0, max: 1 },
} as const);

export const adam = (params: ReadonlyMap<string, Variable>, { lr, beta1, beta2 }: { lr: number; beta1: number; beta2: number }): Adam =>
  new Adam(params, { lr, beta1, beta2, epsilon: 1e-8, weightDecay: 0 });
