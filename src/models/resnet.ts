import { activate, maxPool, residual, type Activation, type Tensor, type Tensor4D } from '@graft/kernels';
import { dataError } from '../errors.js';
import { assemble } from './assemble.js';
import { activationOf, count, counts } from './config.js';
import type { Forward } from './forward.js';
import { imageClassifier, imageFeatures, imageHeads } from './image-head.js';
import { normalise, preprocessing } from './image.js';
import type { Batch, Features, ImageBatch, Model } from './model.js';
import { modulePrefix, Modules, type Headers } from './modules.js';
import { deepLab } from './segment-head.js';

const EPSILON = 1e-5;

/** ResNets for ImageNet (He et al., 2016), basic and bottleneck; modules as in transformers' ResNetModel. */
export default function resnet(checkpoint: Headers): Model {
  const { config } = checkpoint;
  const m = new Modules(checkpoint);
  const prefix = modulePrefix(checkpoint, 'resnet.', 'embedder.embedder.convolution.weight');
  const widths = counts(checkpoint, 'hidden_sizes', [256, 512, 1024, 2048], 2 ** 20);
  const depths = counts(checkpoint, 'depths', [3, 4, 6, 3], 1000);
  if (depths.length !== widths.length) throw dataError(`${checkpoint.path}/config.json: ${widths.length} hidden_sizes but ${depths.length} depths`);
  const kind: Kind = {
    bottleneck: (config.layer_type ?? 'bottleneck') === 'bottleneck', strideFirst: config.downsample_in_bottleneck === true,
    activation: activationOf(checkpoint, 'hidden_act', 'relu'),
  };
  const given = preprocessing(checkpoint);
  const pixels = m.pixels();
  const stem = convNorm(m, `${prefix}embedder.embedder`, [count(checkpoint, 'num_channels', 3), count(checkpoint, 'embedding_size', 64)], 7, 2);
  let [layer, from] = [0, count(checkpoint, 'embedding_size', 64)];
  const blocks = widths.flatMap((to, stage) => Array.from({ length: depths[stage] }, (_, i) => {
    const stride = i === 0 && (stage > 0 || config.downsample_in_first_stage === true) ? 2 : 1;
    const block = residualBlock(m, layer++, `${prefix}encoder.stages.${stage}.layers.${i}`, [from, to], stride, kind);
    from = to;
    return block;
  }));
  m.layer = blocks.length;
  const backbone = (f: Forward, batch: Batch): Features => {
    const x = f.stem(() => {
      const y = activate(stem(f, normalise(pixels(f, (batch as ImageBatch).pixels), given)), kind.activation);
      return maxPool(y as Tensor4D, 3, 2, 1);
    });
    return imageFeatures(f, batch as ImageBatch, x as Tensor, blocks, depths[0]);
  };
  return assemble(checkpoint, m, {
    input: 'image', hiddenSize: from, layers: blocks.length, imageSize: given.size, defaultTargets: ['convolution'], backbone,
    ...imageHeads(imageClassifier(m, 'classifier.1', from), deepLab(m, checkpoint, widths[0], from, 256)),
  });
}

interface Kind { bottleneck: boolean; strideFirst: boolean; activation: Activation }

/** A convolution that keeps the size (up to its stride) and the normalisation after it. */
function convNorm(m: Modules, at: string, dims: readonly [number, number], kernel: number, stride: number) {
  const conv = m.conv(`${at}.convolution`, 'conv', dims, kernel, stride, Math.floor(kernel / 2));
  const norm = m.norm(`${at}.normalization`, 'batch', dims[1], EPSILON);
  return (f: Forward, x: Tensor): Tensor => norm(f, conv(f, x));
}

function residualBlock(m: Modules, i: number, at: string, [from, to]: readonly [number, number], stride: number, { bottleneck, strideFirst, activation }: Kind) {
  const block = m.block(i, at, [from, to]);
  const narrow = to / 4;
  const path = bottleneck
    ? [
      convNorm(m, `${at}.layer.0`, [from, narrow], 1, strideFirst ? stride : 1),
      convNorm(m, `${at}.layer.1`, [narrow, narrow], 3, strideFirst ? 1 : stride),
      convNorm(m, `${at}.layer.2`, [narrow, to], 1, 1),
    ]
    : [convNorm(m, `${at}.layer.0`, [from, to], 3, stride), convNorm(m, `${at}.layer.1`, [to, to], 3, 1)];
  const shortcut = from !== to || stride !== 1 ? convNorm(m, `${at}.shortcut`, [from, to], 1, stride) : null;
  return (f: Forward, x: Tensor): Tensor => block(f, x, (x) => {
    const y = path.reduce((h, part, j) => part(f, j === 0 ? h : activate(h, activation)), x);
    return residual(y, shortcut ? shortcut(f, x) : x, activation);
  });
}
