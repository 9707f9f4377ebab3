import { crossEntropy, scoped, tf, type Scalar, type Tensor, type Tensor1D, type Tensor2D, type Tensor4D, type Variable } from '@graft/kernels';
import { alongDirection, gradientsOf, move, remembered } from './mixed-derivative.js';
import type { Network } from './network.js';

type Variables = ReadonlyMap<string, Variable>;

/** One episode: a support set without labels, the target t(φ) of its features, and a labelled query of the same domain. */
export interface Episode {
  support: Tensor4D;
  query: { pixels: Tensor4D; labels: Tensor1D };
  /** t [n, d], a function of φ. */
  target: () => Tensor2D;
}

/** L_in = ‖t - f_θ(x)‖² / (n d). */
export const distillation = (t: Tensor, f: Tensor): Scalar => tf.mean(tf.squaredDifference(t, f)) as Scalar;

/** θ ← θ - α ∇_θ L_in(θ) for a fixed target, theta some of the network's own tensors. */
export function innerStep(network: Network, theta: Variables, x: Tensor4D, t: Tensor, alpha: number): void {
  scoped(() => move(theta, innerGradients(network, theta, x, () => t), -alpha));
}

const innerGradients = (network: Network, params: Variables, x: Tensor4D, target: () => Tensor): Map<string, Tensor> =>
  gradientsOf(params, () => distillation(target(), network.predict(x).features));

/**
 * Gradients of the outer loss L = CE(h(f_θ′(x_Q)), y_Q) after the inner step θ′ = θ - α ∇_θ L_in(θ, φ), with respect to the network's
 * trained tensors and φ. Through the inner step they are central differences of its gradient along q = ∇_θ′ L (Liu et al., 2019, DARTS):
 * dL/dθ = q - α [∇_θ L_in(θ + εq) - ∇_θ L_in(θ - εq)] / 2ε, likewise dL/dφ without q, ε = 0.01/‖q‖.
 * @param theta what the inner step moves: the extractor's tensors, some of the network's
 * @param firstOrder dL/dθ = q and no gradient for φ
 * @returns gradients by name, those of φ as `phi` names them, and the loss; within a scope of the caller's
 */
export function metaGradients(network: Network, theta: Variables, phi: Variables, { support, query, target }: Episode, alpha: number, firstOrder: boolean): { theta: Map<string, Tensor>; phi: Map<string, Tensor>; loss: Tensor } {
  const restore = remembered(theta);
  innerStep(network, theta, support, target(), alpha);
  const { grads, kept: loss } = network.gradients(() => {
    const l = tf.mean(crossEntropy(network.logits(query.pixels), query.labels));
    return { loss: l, kept: l };
  });
  restore();
  const q = new Map([...grads].filter(([name]) => theta.has(name)));
  if (firstOrder || alpha === 0) return { theta: grads, phi: new Map(), loss };
  const slope = alongDirection(theta, q, () => innerGradients(network, new Map([...theta, ...phi]), support, target));
  const through = (name: string): Tensor => tf.mul(slope.get(name)!, -alpha);
  return {
    theta: new Map([...grads].map(([name, g]): [string, Tensor] => [name, slope.has(name) ? tf.add(g, through(name)) : g])),
    phi: new Map([...phi.keys()].filter((name) => slope.has(name)).map((name): [string, Tensor] => [name, through(name)])),
    loss,
  };
}
