import { adamwSteps, scoped, sgdStep, tf, type AdamWStep, type Tensor, type Variable } from '@graft/kernels';

export interface OptimiserOptions {
  kind: 'adamw' | 'sgd';
  weightDecay: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  momentum: number;
  nesterov: boolean;
}

/** A trained tensor with what its parameter group says. */
export interface TrainedParam {
  variable: Variable;
  decay: boolean;
  lrScale: number;
  /** In place of the rate of all. */
  lr?: number;
}

/** State of one parameter: how often it was updated, and its moments in the parameter's shape (m, v of Adam; SGD's momentum). */
interface ParamState { steps: number; moments: Variable[] }

/** Applies AdamW or SGD to a changing set of parameters. A parameter without a gradient is left as it is, as in PyTorch. */
export class Optimiser {
  private readonly states = new Map<string, ParamState>();

  constructor(private readonly options: OptimiserOptions) {}

  /** Moments the rule keeps for each parameter. */
  private get momentCount(): number {
    return this.options.kind === 'adamw' ? 2 : this.options.momentum > 0 ? 1 : 0;
  }

  /** @param gradScale multiplies every gradient (clipping). */
  step(params: ReadonlyMap<string, TrainedParam>, grads: ReadonlyMap<string, Tensor>, lr: number, gradScale: number): void {
    const { kind, beta1, beta2, epsilon, momentum, nesterov } = this.options, together: AdamWStep[] = [];
    for (const [name, param] of params) {
      const grad = grads.get(name);
      if (!grad) continue;
      const { variable } = param, state = this.state(name, variable), [m, v] = state.moments;
      const common = { lr: (param.lr ?? lr) * param.lrScale, weightDecay: param.decay ? this.options.weightDecay : 0, step: ++state.steps };
      if (kind === 'adamw') together.push({ param: variable, grad, m, v, options: { ...common, beta1, beta2, epsilon }, gradScale });
      else sgdStep(variable, grad, m ?? variable, { ...common, momentum, nesterov }, gradScale);
    }
    adamwSteps(together);
  }

  private state(name: string, like: Tensor): ParamState {
    let state = this.states.get(name);
    if (!state) {
      state = { steps: 0, moments: Array.from({ length: this.momentCount }, () => scoped(() => tf.variable(tf.zeros(like.shape), false))) };
      this.states.set(name, state);
    }
    return state;
  }

  /** The parameter took a new shape: its moments keep the common leading part and are zero in what was added. */
  resize(name: string, shape: number[]): void {
    const state = this.states.get(name);
    if (!state) return;
    state.moments = state.moments.map((old) => {
      const resized = scoped(() => tf.variable(fit(old, shape), false));
      old.dispose();
      return resized;
    });
  }

  remove(name: string): void {
    this.states.get(name)?.moments.forEach((m) => m.dispose());
    this.states.delete(name);
  }

  /** Everything a resumed run needs: update counts, and moments by `<name>#<index>`. */
  save(): { steps: Record<string, number>; moments: Map<string, Tensor> } {
    const moments = new Map<string, Tensor>();
    for (const [name, state] of this.states) state.moments.forEach((m, i) => moments.set(`${name}#${i}`, m));
    return { steps: Object.fromEntries([...this.states].map(([n, s]) => [n, s.steps])), moments };
  }

  restore(steps: Record<string, number>, moment: (key: string) => Tensor): void {
    this.dispose();
    for (const [name, count] of Object.entries(steps)) {
      const moments = Array.from({ length: this.momentCount }, (_, i) => {
        const value = moment(`${name}#${i}`);
        const variable = tf.variable(value, false);
        value.dispose();
        return variable;
      });
      this.states.set(name, { steps: count, moments });
    }
  }

  dispose(): void {
    for (const name of [...this.states.keys()]) this.remove(name);
  }
}

/** `t` cropped or zero-padded at the end of every axis to `shape`. */
export function fit(t: Tensor, shape: number[]): Tensor {
  return tf.tidy(() => {
    const common = shape.map((n, i) => Math.min(n, t.shape[i]));
    const cropped = tf.slice(t, shape.map(() => 0), common);
    return tf.pad(cropped, shape.map((n, i) => [0, n - common[i]] as [number, number]));
  });
}
