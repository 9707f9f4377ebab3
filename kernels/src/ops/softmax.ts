import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, runKernel, withGradient } from '../fused.js';

/** Over the last axis. x: [..., C]. */
export function softmax<T extends tf.Tensor>(x: T): T {
  return hasKernel('SoftmaxGrad') ? native(x, 'Softmax') : tf.softmax(x);
}

/** log softmax over the last axis. x: [..., C]. */
export function logSoftmax<T extends tf.Tensor>(x: T): T {
  return hasKernel('LogSoftmaxGrad') ? native(x, 'LogSoftmax') : tf.logSoftmax(x);
}

function native<T extends tf.Tensor>(logits: T, kernel: 'Softmax' | 'LogSoftmax'): T {
  return withGradient<tf.Tensor>({ logits }, (save) => {
    const y = runKernel(kernel, { logits }, { dim: -1 });
    save([y]);
    return y;
  }, (dy, [y]) => ({ logits: () => runKernel(`${kernel}Grad`, { dy, y }) })) as T;
}
