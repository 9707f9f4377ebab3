// TensorFlow.js multiplies the gradients of sums and means by a tensor of ones made in JavaScript; repeating them is enough.
import * as tf from '@tensorflow/tfjs-core';

interface Attrs { axis: number | number[] }

/** dy of a reduction of x over `axis`, repeated to x's shape. */
function spread(dy: tf.Tensor, x: tf.Tensor, axes: number[]): tf.Tensor {
  const kept = x.shape.map((n, i) => (axes.includes(i) ? 1 : n));
  return tf.tile(tf.reshape(dy, kept), x.shape.map((n, i) => (axes.includes(i) ? n : 1)));
}

tf.registerGradient({
  kernelName: 'Sum',
  inputsToSave: ['x'],
  gradFunc: (dy, [x], attrs) => ({ x: () => spread(dy as tf.Tensor, x, tf.util.parseAxisParam((attrs as unknown as Attrs).axis, x.shape)) }),
});

tf.registerGradient({
  kernelName: 'Mean',
  inputsToSave: ['x'],
  gradFunc: (dy, [x], attrs) => {
    const axes = tf.util.parseAxisParam((attrs as unknown as Attrs).axis, x.shape);
    const count = axes.reduce((n, axis) => n * x.shape[axis], 1);
    return { x: () => spread(tf.div(dy as tf.Tensor, count), x, axes) };
  },
});
