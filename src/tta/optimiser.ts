import { adamwSteps, sgdStep, tf, type Tensor, type Variable } from '@graft/kernels';
import { ownValues } from './network.js';

export type Gradients = ReadonlyMap<string, Tensor>;
type Variables = ReadonlyMap<string, Variable>;

/** Updates named tensors from their gradients, leaving those without one alone; its moments are state that can be stored. */
export interface Optimiser {
  step(grads: Gradients): void;
  /** Forgets its moments. */
  reset(): void;
  state(): [string, Tensor][];
  restore(state: ReadonlyMap<string, Tensor>): void;
  dispose(): void;
}

/** One tensor with its gradient and moments. */
interface Part { name: string; param: Variable; grad: Tensor; moments: readonly Variable[] }

type Update = (parts: readonly Part[], step: number) => void;

/** An optimiser whose state lies under `name`: the number of steps, and a set of tensors for each of `moments`. */
function optimiser(name: string, params: Variables, moments: readonly string[], update: Update): Optimiser {
  const held = moments.map((moment) => ({ prefix: `${name}.${moment}.`, values: new Map([...params].map(([n, p]) => [n, zeros(p)])) }));
  let steps = 0;
  return {
    step(grads) {
      steps++;
      update([...params].flatMap(([name, param]) => (grads.has(name) ? [{ name, param, grad: grads.get(name)!, moments: held.map(({ values }) => values.get(name)!) }] : [])), steps);
    },
    reset() {
      steps = 0;
      for (const { values } of held) for (const m of values.values()) tf.tidy(() => m.assign(tf.zerosLike(m)));
    },
    state: () => [[`${name}.steps`, tf.scalar(steps, 'int32')], ...held.flatMap(({ prefix, values }) => prefixed(prefix, values))],
    restore(state) {
      steps = state.get(`${name}.steps`)!.dataSync()[0];
      for (const { prefix, values } of held) assign(values, state, prefix);
    },
    dispose: () => held.forEach(({ values }) => tf.dispose([...values.values()])),
  };
}

const zeros = (p: Tensor): Variable => tf.tidy(() => tf.variable(tf.zerosLike(p), false));

/** Tensors under a common prefix, for a state that holds several sets. */
export const prefixed = (prefix: string, tensors: ReadonlyMap<string, Tensor>): [string, Tensor][] => [...tensors].map(([n, t]) => [prefix + n, t]);

/** Puts the prefixed tensors of a state back into the variables of the same names. */
export function assign(variables: Variables, state: ReadonlyMap<string, Tensor>, prefix: string): void {
  for (const [name, v] of variables) tf.tidy(() => v.assign(ownValues(state.get(prefix + name)!)));
}

/** The options of Adam; the 32×32 benchmarks set them so. */
export const adamOptions = (lr: number) => ({
  lr: { type: 'number', describe: 'learning rate of Adam', default: lr, min: 0 },
  beta1: { type: 'number', describe: 'decay of Adam\'s first moment', default: 0.9, min: 0, max: 1 },
  beta2: { type: 'number', describe: 'decay of Adam\'s second moment', default: 0.999, min: 0, max: 1 },
} as const);

export type AdamConfig = { lr: number; beta1: number; beta2: number };

/**
 * `rates` is read at every step, so that a schedule may change them.
 * @param rateOf the learning rate of a tensor by its name; the same for all without it
 */
export const adam = (params: Variables, rates: AdamConfig, rateOf = (_name: string): number => rates.lr): Optimiser =>
  optimiser('adam', params, ['m', 'v'], (parts, step) => adamwSteps(parts.map(({ name, param, grad, moments: [m, v] }) =>
    ({ param, grad, m, v, gradScale: 1, options: { lr: rateOf(name), beta1: rates.beta1, beta2: rates.beta2, epsilon: 1e-8, weightDecay: 0, step } }))));

/** The options of SGD. */
export const sgdOptions = (lr: number, momentum: number) => ({
  lr: { type: 'number', describe: 'learning rate of SGD', default: lr, min: 0 },
  momentum: { type: 'number', describe: 'momentum of SGD', default: momentum, min: 0, max: 1 },
} as const);

export const sgd = (params: Variables, rates: { lr: number; momentum: number; weightDecay?: number }): Optimiser =>
  optimiser('sgd', params, ['momentum'], (parts, step) => parts.forEach(({ param, grad, moments: [m] }) =>
    sgdStep(param, grad, m, { lr: rates.lr, momentum: rates.momentum, nesterov: false, weightDecay: rates.weightDecay ?? 0, step })));
