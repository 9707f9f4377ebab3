import { residual, tf, type Tensor, type Tensor4D } from '@graft/kernels';
import { dataError } from '../errors.js';
import { assemble } from './assemble.js';
import { count } from './config.js';
import type { Forward } from './forward.js';
import { imageClassifier, imageFeatures, imageHeads } from './image-head.js';
import { normalise, preprocessing } from './image.js';
import type { Batch, Features, ImageBatch, Model } from './model.js';
import { Modules, type Headers } from './modules.js';
import { deepLab } from './segment-head.js';

const EPSILON = 1e-5;
/** Channels of the three stages. */
const WIDTHS = [16, 32, 64];

/**
 * The ResNets for CIFAR-10 (He et al., 2016, section 4.2), depth 6n + 2, with parameter-free shortcuts (option A);
 * modules as in akamaster/pytorch_resnet_cifar10.
 */
export default function resnetCifar(checkpoint: Headers): Model {
  const m = new Modules(checkpoint);
  const n = (count(checkpoint, 'depth', undefined, [8, 6002]) - 2) / 6;
  if (!Number.isInteger(n)) throw dataError(`${checkpoint.path}/config.json: 'depth' is ${6 * n + 2}, it must be 6n + 2`);
  const given = preprocessing(checkpoint);
  const pixels = m.pixels();
  const conv = m.conv('conv1', 'conv', [3, WIDTHS[0]], 3, 1, 1);
  const norm = m.norm('bn1', 'batch', WIDTHS[0], EPSILON);
  const blocks = Array.from({ length: 3 * n }, (_, i) => {
    const [stage, index] = [Math.floor(i / n), i % n];
    const first = index === 0 && stage > 0;
    return basicBlock(m, i, `layer${stage + 1}.${index}`, first ? WIDTHS[stage - 1] : WIDTHS[stage], WIDTHS[stage]);
  });
  m.layer = blocks.length;
  const backbone = (f: Forward, batch: Batch): Features => {
    const x = f.stem(() => tf.relu(norm(f, conv(f, normalise(pixels(f, (batch as ImageBatch).pixels), given)))));
    return imageFeatures(f, batch as ImageBatch, x, blocks, n);
  };
  return assemble(checkpoint, m, {
    input: 'image', hiddenSize: WIDTHS[2], layers: blocks.length, imageSize: given.size ?? [32, 32], defaultTargets: ['conv1', 'conv2'], backbone,
    ...imageHeads(imageClassifier(m, 'linear', WIDTHS[2]), deepLab(m, checkpoint, WIDTHS[0], WIDTHS[2], 32)),
  });
}

function basicBlock(m: Modules, i: number, at: string, from: number, to: number) {
  const stride = from === to ? 1 : 2;
  const block = m.block(i, at, [from, to]);
  const conv1 = m.conv(`${at}.conv1`, 'conv', [from, to], 3, stride, 1);
  const norm1 = m.norm(`${at}.bn1`, 'batch', to, EPSILON);
  const conv2 = m.conv(`${at}.conv2`, 'conv', [to, to], 3, 1, 1);
  const norm2 = m.norm(`${at}.bn2`, 'batch', to, EPSILON);
  return (f: Forward, x: Tensor): Tensor => block(f, x, (x) => {
    const y = norm2(f, conv2(f, tf.relu(norm1(f, conv1(f, x)))));
    return residual(y, stride === 1 ? x : shortcut(x as Tensor4D, (to - from) / 2), 'relu');
  });
}

/** Every second pixel, and `extra` channels of zeros on each side. Pooling over one pixel picks it, with a gradient. */
const shortcut = (x: Tensor4D, extra: number): Tensor => tf.pad(tf.avgPool(x, 1, 2, 'valid'), [[0, 0], [0, 0], [0, 0], [extra, extra]]);
