import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, runKernel, shared, withGradient } from '../fused.js';
import { activate, activationGradient, type Activation } from './activation.js';

/** act(x + y) of two tensors of one shape: where a branch of a network joins its trunk. Neither is kept for the gradient. */
export function residual(x: tf.Tensor, y: tf.Tensor, activation: Activation = 'none'): tf.Tensor {
  if (!tf.util.arraysEqual(x.shape, y.shape)) return activate(tf.add(x, y), activation);
  if (activation === 'relu' && hasKernel('AddRelu')) {
    return withGradient<tf.Tensor>({ x, y }, (save) => {
      const z = runKernel('AddRelu', { a: x, b: y });
      save([z]);
      return z;
    }, (dz, [z]) => bothFrom(shared(() => activationGradient('relu', dz, z))));
  }
  const sum = withGradient<tf.Tensor>({ x, y }, () => runKernel('Add', { a: x, b: y }), (dz) => bothFrom(() => dz));
  return activate(sum, activation);
}

/** Each input gets an alias of its own: whoever adds to one frees it. */
function bothFrom(gradient: () => tf.Tensor): { x: () => tf.Tensor; y: () => tf.Tensor } {
  const alias = (): tf.Tensor => tf.clone(gradient());
  return { x: alias, y: alias };
}
