import * as tf from '@tensorflow/tfjs-core';
import { isConstant, shared, withGradient } from '../fused.js';
import { activate, activationGradient, KERNELS, type Activation } from './activation.js';
import { fusesProducts, product, productKept } from './product.js';

export interface LinearOptions {
  activation?: Activation;
  /** 'oi': W is (out, in) as in PyTorch's Linear (default); 'io': (in, out) as in GPT-2's Conv1D. */
  layout?: 'oi' | 'io';
  /** A frozen W is taken as it is where --precision would have it as codes of few bits. */
  exact?: boolean;
}

/** y = act(x Wᵀ + b). x: [..., in]; W: [out, in]; b: [out] or null; y: [..., out]. */
export function linear(x: tf.Tensor, W: tf.Tensor2D, b: tf.Tensor1D | null = null, options: LinearOptions = {}): tf.Tensor {
  const oi = options.layout !== 'io';
  const activation = options.activation ?? 'none', coded = !options.exact;
  if (!fusesProducts()) return reference(x, W, b, oi, activation);
  // Without an activation nothing of its side is kept; a frozen W needs no x (a variable over the same memory does).
  const side = activation === 'none' ? undefined : KERNELS[activation].from;
  const frozen = isConstant(W);
  const forward = (save: (tensors: tf.Tensor[]) => void, recording: boolean): tf.Tensor => {
    const attributes = { transposeB: oi, activation, coded };
    const [y, z] = recording && side === 'x' ? productKept(x, W, attributes, b) : [product(x, W, attributes, null, b), undefined];
    save([W, ...(frozen ? [] : [x]), ...(side ? [z ?? y] : [])]);
    return y;
  };
  return withGradient({ x, W, b }, forward, (dy, [W, ...rest]) => {
    const dz = shared(() => (activation === 'none' ? dy : activationGradient(activation, dy, rest.at(-1)!)));
    const kept = (): tf.Tensor => (frozen ? x : rest[0]);
    return {
      x: (before?: tf.Tensor) => product(dz(), W, { transposeB: !oi, coded }, before),
      W: () => (oi ? product(dz(), kept(), { transposeA: true }) : product(kept(), dz(), { transposeA: true })),
      b: () => tf.sum(tf.reshape(dz(), [-1, dy.shape.at(-1)!]), 0),
    };
  });
}

function reference(x: tf.Tensor, W: tf.Tensor2D, b: tf.Tensor1D | null, oi: boolean, activation: Activation): tf.Tensor {
  const [dimIn, dimOut] = oi ? [W.shape[1], W.shape[0]] : W.shape;
  const flat = tf.reshape(x, [-1, dimIn]) as tf.Tensor2D;
  let y = tf.matMul(flat, W, false, oi) as tf.Tensor;
  if (b) y = tf.add(y, b);
  return tf.reshape(activate(y, activation), [...x.shape.slice(0, -1), dimOut]);
}
