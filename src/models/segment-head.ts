import { tf, type Tensor, type Tensor2D, type Tensor3D, type Tensor4D } from '@graft/kernels';
import { count } from './config.js';
import type { Forward } from './forward.js';
import { outputs, type HeadLayout } from './heads.js';
import type { HeadTensor } from './model.js';
import type { Headers, Modules } from './modules.js';

const EPSILON = 1e-5;

export interface Segmenter {
  layout: HeadLayout;
  /** The tensor whose rows count the classes. */
  width: string;
}

/** A convolution without bias, batch normalisation and ReLU, and the tensors they own. */
function convNormRelu(m: Modules, at: string, [from, to]: readonly [number, number], kernel: number) {
  const [conv, norm] = [`${at}.convolution`, `${at}.normalization`];
  const convolve = m.conv(conv, 'conv', [from, to], kernel, 1, (kernel - 1) / 2), normalise = m.norm(norm, 'batch', to, EPSILON);
  return {
    tensors: [weight(conv, [to, from, kernel, kernel]), ...batchNormTensors(norm, to)],
    run: (f: Forward, x: Tensor): Tensor4D => tf.relu(normalise(f, convolve(f, x))) as Tensor4D,
  };
}

const weight = (name: string, shape: number[]): HeadTensor => ({ name: `${name}.weight`, shape, init: 'torch-linear' });

const batchNormTensors = (name: string, dim: number): HeadTensor[] => [
  { name: `${name}.weight`, shape: [dim], init: 'ones' }, { name: `${name}.bias`, shape: [dim], init: 'zeros' },
  { name: `${name}.running_mean`, shape: [dim], init: 'zeros', fixed: true }, { name: `${name}.running_var`, shape: [dim], init: 'ones', fixed: true },
];

/** The last convolution of a head, 1×1 with a bias: one output a class. */
function pixelClassifier(m: Modules, at: string, dim: number) {
  const conv = m.conv(at, 'head', [dim, m.classes(`${at}.weight`)], 1, 1, 0, true);
  return { width: `${at}.weight`, run: conv, tensors: (n: number) => [weight(at, [n, dim, 1, 1]), { ...weight(at, [n]), name: `${at}.bias` }] };
}

/** Channels of a head between its first and its last layer. */
const hidden = (checkpoint: Headers, otherwise: number): number => count(checkpoint, 'decoder_hidden_size', otherwise, [1, 2 ** 16]);

/**
 * The head of DeepLabV3+ (Chen et al., 2018) over a network of convolutions, with the branches that need no dilation: of the last stage a
 * convolution and the mean over all pixels, projected together, enlarged to an early stage, which adds its detail. Modules are
 * named as in transformers' MobileNetV2DeepLabV3Plus.
 * @param low channels of the early stage, the first of `features.stages`; @param high those of the last
 */
export function deepLab(m: Modules, checkpoint: Headers, low: number, high: number, otherwise: number): Segmenter {
  const d = hidden(checkpoint, otherwise), detail = Math.max(1, Math.min(48, low));
  return m.head('segment', () => {
    const pool = convNormRelu(m, 'segmentation_head.conv_pool', [high, d], 1);
    const aspp = convNormRelu(m, 'segmentation_head.conv_aspp', [high, d], 3);
    const project = convNormRelu(m, 'segmentation_head.conv_projection', [2 * d, d], 1);
    const reduce = convNormRelu(m, 'segmentation_head.conv_low_level', [low, detail], 1);
    const fuse = convNormRelu(m, 'segmentation_head.conv_fuse', [d + detail, d], 3);
    const classifier = pixelClassifier(m, 'segmentation_head.classifier.convolution', d);
    return {
      width: classifier.width,
      layout: {
        tensors: (head) => [...[pool, aspp, project, reduce, fuse].flatMap((part) => part.tensors), ...classifier.tensors(outputs(head))],
        logits(f, { hidden: x, stages, size }) {
          const [, h, w] = x.shape as [number, number, number], early = stages!()[0] as Tensor4D, [, H, W] = early.shape;
          const context = resized(pool.run(f, tf.mean(x, [1, 2], true)), h, w);
          const semantic = project.run(f, tf.concat([context, aspp.run(f, x)], 3));
          const z = fuse.run(f, tf.concat([resized(semantic, H, W), reduce.run(f, early)], 3));
          return resized(classifier.run(f, z), ...size!);
        },
      },
    };
  });
}

/** How many layers a Transformer's head reads, the last among them. */
const READ = 4;

/** Which of the blocks SegFormer's head reads the output of, evenly spaced, the last one included. */
export const readBlocks = (layers: number): number[] => Array.from({ length: Math.min(READ, layers) }, (_, i) => Math.ceil(((i + 1) * layers) / Math.min(READ, layers)) - 1);

/**
 * The all-MLP head of SegFormer (Xie et al., 2021) over a Vision Transformer: a dense layer on the patches of some blocks each, all of them
 * fused by another. Modules are named as in transformers' SegformerDecodeHead.
 * @param grid rows and columns of patches; `features.stages` are the patches [B, rows · columns, d] of the blocks read
 */
export function allMlp(m: Modules, checkpoint: Headers, grid: readonly [number, number], layers: number, d: number): Segmenter {
  const width = hidden(checkpoint, 256), read = readBlocks(layers).length;
  return m.head('segment', () => {
    const each = Array.from({ length: read }, (_, i) => ({ name: `decode_head.linear_c.${i}.proj`, run: m.linear(`decode_head.linear_c.${i}.proj`, 'decode', [d, width]) }));
    const fuse = m.conv('decode_head.linear_fuse', 'decode', [read * width, width], 1);
    const norm = m.norm('decode_head.batch_norm', 'batch', width, EPSILON);
    const classifier = pixelClassifier(m, 'decode_head.classifier', width);
    return {
      width: classifier.width,
      layout: {
        tensors: (head) => [
          ...each.flatMap(({ name }) => [weight(name, [width, d]), { ...weight(name, [width]), name: `${name}.bias` }]),
          weight('decode_head.linear_fuse', [width, read * width, 1, 1]), ...batchNormTensors('decode_head.batch_norm', width), ...classifier.tensors(outputs(head)),
        ],
        logits(f, { stages, size }) {
          const maps = stages!().map((x, i) => tf.reshape(each[i].run(f, x), [-1, ...grid, width]) as Tensor4D);
          const z = tf.relu(norm(f, fuse(f, tf.concat(maps.reverse(), 3))));
          return resized(classifier.run(f, z), ...size!);
        },
      },
    };
  });
}

/** Bilinear, as PyTorch's interpolate with align_corners=False; two products, so that gradients need nothing of their own. x: [B, h, w, C]. */
export function resized(x: Tensor4D, H: number, W: number): Tensor4D {
  const [B, h, w, C] = x.shape;
  if (h === H && w === W) return x;
  const tall = tf.matMul(tf.tile(weights(h, H), [B, 1, 1]), tf.reshape(x, [B, h, w * C]) as Tensor3D);
  const wide = tf.matMul(tf.tile(weights(w, W), [B * H, 1, 1]), tf.reshape(tall, [B * H, w, C]));
  return tf.reshape(wide, [B, H, W, C]);
}

/** [1, to, from]: what each new pixel takes of the old ones. */
function weights(from: number, to: number): Tensor3D {
  const values = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const at = Math.max(0, ((i + 0.5) * from) / to - 0.5), low = Math.min(from - 1, Math.floor(at)), high = Math.min(from - 1, low + 1);
    values[i * from + low] += 1 - (at - low);
    values[i * from + high] += at - low;
  }
  return tf.tensor3d(values, [1, to, from]);
}

/** Logits [B, H, W, C] with a row a pixel: [B·H·W, C]. */
export const pixelRows = (z: Tensor): Tensor2D => (z.rank === 2 ? z : tf.reshape(z, [-1, z.shape.at(-1)!])) as Tensor2D;
