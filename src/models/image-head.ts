import { tf } from '@graft/kernels';
import { outputs, type HeadLayout, type HeadLayouts } from './heads.js';
import type { Modules } from './modules.js';

/** The head of convolutional networks: the mean over all pixels, then one dense layer that starts as PyTorch's Linear does. */
export function imageClassifier(m: Modules, name: string, dim: number): { heads: HeadLayouts; width: { classify: string } } {
  const classifier = m.headLinear(name, dim);
  const layout: HeadLayout = {
    tensors: (head) => [
      { name: `${name}.weight`, shape: [outputs(head), dim], init: 'torch-linear' },
      { name: `${name}.bias`, shape: [outputs(head)], init: 'torch-linear' },
    ],
    logits: (f, { hidden }) => classifier(f, tf.mean(hidden, [1, 2])),
  };
  return { heads: { classify: layout, regress: layout }, width: { classify: `${name}.weight` } };
}
