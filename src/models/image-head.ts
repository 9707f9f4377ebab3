import { tf, type Tensor, type Tensor4D } from '@graft/kernels';
import type { Forward } from './forward.js';
import { outputs, type HeadLayout, type HeadLayouts } from './heads.js';
import type { Features, Head, ImageBatch } from './model.js';
import type { Modules } from './modules.js';
import type { Segmenter } from './segment-head.js';

interface ImageClassifier { heads: HeadLayouts; width: { classify: string } }

/** The head of convolutional networks: the mean over all pixels, then one dense layer that starts as PyTorch's Linear does. */
export function imageClassifier(m: Modules, name: string, dim: number): ImageClassifier {
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

/** The heads of an image network: one class an image, or one a pixel. */
export const imageHeads = ({ heads, width }: ImageClassifier, segmenter: Segmenter): { heads: HeadLayouts; width: Partial<Record<Head['task'], string>> } =>
  ({ heads: { ...heads, segment: segmenter.layout }, width: { ...width, segment: segmenter.width } });

/** What a network of convolutions computes. @param early how many blocks the early stage has that dense predictions take detail from */
export function imageFeatures(f: Forward, { pixels }: ImageBatch, x: Tensor, blocks: readonly ((f: Forward, x: Tensor) => Tensor)[], early: number): Features {
  const run = (h: Tensor, part: typeof blocks): Tensor4D => part.reduce((h, block) => block(f, h), h) as Tensor4D;
  const detail = run(x, blocks.slice(0, early)), hidden = run(detail, blocks.slice(early));
  return { hidden, mask: null, stages: () => [detail, hidden], size: [pixels.shape[1], pixels.shape[2]] };
}
