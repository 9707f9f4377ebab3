import { tf, type Tensor, type Variable } from '@graft/kernels';
import { assign } from './optimiser.js';

/**
 * How much the loss depended on each element of ω in earlier domains: the path integral of Synaptic Intelligence (Zenke et al., 2017),
 * s_i = -Σ_t g_i(t) δ_i(t) over a domain, and at its end Λ_i ← Λ_i + max(s_i, 0) / (Δ_i² + ξ) with Δ the way of ω in that domain.
 */
export interface Homeostasis {
  /** The gradient [of ω's shape] of Σ Λ (ω - ω*)². */
  pull(): Tensor;
  /** A step that the gradient g (of the loss alone) led to moved ω from `before`. */
  moved(g: Tensor, before: Tensor): void;
  /** A new domain begins: ω* ← ω, s ← 0. */
  consolidate(): void;
  state(): Map<string, Tensor>;
  restore(state: ReadonlyMap<string, Tensor>): void;
  dispose(): void;
}

export function homeostasis(omega: Variable, xi: number): Homeostasis {
  const held = new Map(['importance', 'path', 'anchor'].map((n) => [n, tf.tidy(() => tf.variable(n === 'anchor' ? tf.mul(omega, 1) : tf.zerosLike(omega), false))]));
  const [importance, path, anchor] = held.values();
  return {
    pull: () => tf.mul(tf.mul(2, importance), tf.sub(omega, anchor)),
    moved: (g, before) => tf.tidy(() => path.assign(tf.sub(path, tf.mul(g, tf.sub(omega, before))))),
    consolidate: () => tf.tidy(() => {
      importance.assign(tf.add(importance, tf.div(tf.relu(path), tf.add(tf.square(tf.sub(omega, anchor)), xi))));
      path.assign(tf.zerosLike(path));
      anchor.assign(tf.mul(omega, 1));
    }),
    state: () => new Map<string, Tensor>(held),
    restore: (state) => assign(held, state, ''),
    dispose: () => tf.dispose([...held.values()]),
  };
}
