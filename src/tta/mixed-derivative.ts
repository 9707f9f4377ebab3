import { sumOfSquares, tf, variableGradients, type Scalar, type Tensor, type Variable } from '@graft/kernels';
import type { Gradients } from './optimiser.js';

type Variables = ReadonlyMap<string, Variable>;

/** The gradients of a loss, a scalar, by the names of what they belong to. */
export function gradientsOf(params: Variables, loss: () => Tensor): Map<string, Tensor> {
  const { value, grads } = variableGradients(() => loss() as Scalar, [...params.values()]);
  value.dispose();
  return new Map([...params].flatMap(([name, v]): [string, Tensor][] => (grads.has(v) ? [[name, grads.get(v)!]] : [])));
}

/** θ ← θ + by · g. */
export function move(theta: Variables, g: Gradients, by: number): void {
  for (const [name, v] of theta) if (g.has(name)) tf.tidy(() => v.assign(tf.add(v, tf.mul(g.get(name)!, by))));
}

/** What puts θ back to the bit; within a scope of the caller's. */
export function remembered(theta: Variables): () => void {
  const start = [...theta.values()].map((v) => tf.mul(v, 1));
  return () => [...theta.values()].forEach((v, i) => v.assign(tf.mul(start[i], 1)));
}

/**
 * The derivative along v of gradients g(θ), which have no derivatives of their own here: [g(θ + εv) - g(θ - εv)] / 2ε, ε = 0.01/‖v‖
 * (Liu et al., 2019, DARTS, equation 8). θ is as it was afterwards; of v = 0 there is none. Within a scope of the caller's.
 */
export function alongDirection(theta: Variables, v: Gradients, g: () => Map<string, Tensor>): Map<string, Tensor> {
  const norm = Math.sqrt(sumOfSquares(v.values()).dataSync()[0]), epsilon = 0.01 / norm;
  if (norm === 0) return new Map();
  const restore = remembered(theta);
  const [plus, minus] = [epsilon, -epsilon].map((by) => {
    move(theta, v, by);
    const found = g();
    restore();
    return found;
  });
  return new Map([...plus].map(([name, t]) => [name, tf.div(tf.sub(t, minus.get(name)!), 2 * epsilon)]));
}
