import { tf, type Tensor, type Tensor1D, type Tensor4D } from '@graft/kernels';
import type { Checkpoint } from '../formats/checkpoint.js';
import type { Forward } from './forward.js';
import { classNames, type Batch, type Features, type Head, type HeadTensor, type Model } from './model.js';
import { number, SiteList } from './sites.js';

/**
 * The ResNets of He et al. (2016, §4.2) for 32×32 images, under the tensor names of akamaster's PyTorch networks: 6n + 2 layers in
 * three stages of 16, 32 and 64 channels; a shortcut that changes shape has no parameters (option A).
 */
export class ResNetCifar implements Model {
  readonly type = 'resnet-cifar';
  readonly input = 'image';
  readonly hiddenSize = 64;
  readonly layers: number;
  readonly sites;
  readonly defaultTargets = ['conv1', 'conv2'];
  readonly head: Head;
  private readonly n: number;
  private readonly mean: number[];
  private readonly std: number[];

  constructor(checkpoint: Pick<Checkpoint, 'config' | 'info'>) {
    const { config } = checkpoint;
    this.n = (number(config, 'depth') - 2) / 6;
    this.layers = 3 * this.n;
    this.mean = (config.image_mean ?? [0.485, 0.456, 0.406]) as number[];
    this.std = (config.image_std ?? [0.229, 0.224, 0.225]) as number[];
    this.head = { task: 'classify', labels: classNames(config, checkpoint.info('linear.weight').shape[0]) };
    this.sites = this.listSites();
  }

  private *blocks(): Generator<{ name: string; layer: number; stage: number; stride: number; cin: number; cout: number }> {
    for (let stage = 0, layer = 0; stage < 3; stage++) for (let i = 0; i < this.n; i++, layer++) {
      const cout = 16 << stage, first = stage > 0 && i === 0;
      yield { name: `layer${stage + 1}.${i}`, layer, stage, stride: first ? 2 : 1, cin: first ? cout / 2 : cout, cout };
    }
  }

  private listSites(): Model['sites'] {
    const s = new SiteList(), epsilon = 1e-5;
    const conv = (name: string, layer: number, role: string, cin: number, cout: number, stride: number): void => s.conv(name, layer, role, cin, cout, { kernel: [3, 3], stride, padding: 1 });
    s.add('pixels', 'pixels', -1, 'pixels', 3);
    conv('conv1', -1, 'stem', 3, 16, 1);
    s.norm('bn1', -1, 'stem', 16, 'batch', epsilon);
    for (const { name, layer, stride, cin, cout } of this.blocks()) {
      s.add('block', name, layer, 'block', cin, cout);
      conv(`${name}.conv1`, layer, 'conv1', cin, cout, stride);
      s.norm(`${name}.bn1`, layer, 'conv1', cout, 'batch', epsilon);
      conv(`${name}.conv2`, layer, 'conv2', cout, cout, 1);
      s.norm(`${name}.bn2`, layer, 'conv2', cout, 'batch', epsilon);
    }
    s.linear('linear', this.layers, 'head', 64, this.head.labels!.length);
    s.add('logits', 'logits', this.layers, 'head', 64, this.head.labels!.length);
    return s.sites;
  }

  headTensors(head: Head): HeadTensor[] {
    const C = head.labels!.length;
    return [{ name: 'linear.weight', shape: [C, 64], init: 'torch-linear' }, { name: 'linear.bias', shape: [C], init: 'zeros' }];
  }

  backbone(f: Forward, batch: Batch): Features {
    if (batch.kind !== 'image') throw new Error('an image model was given text');
    const convNorm = (conv: string, norm: string, x: Tensor, stride: number): Tensor => f.norm(norm, f.conv(conv, x as Tensor4D, { stride, padding: 1 }));
    let x = f.below(() => {
      const pixels = f.pixels('pixels', batch.pixels);
      const centred = tf.div(tf.sub(pixels, tf.tensor1d(this.mean)), tf.tensor1d(this.std) as Tensor1D);
      return tf.relu(convNorm('conv1', 'bn1', centred, 1));
    });
    for (const { name, stride, cin, cout } of this.blocks()) {
      x = f.block(name, x, (z) => {
        const inner = tf.relu(convNorm(`${name}.conv1`, `${name}.bn1`, z, stride));
        return tf.relu(tf.add(convNorm(`${name}.conv2`, `${name}.bn2`, inner, 1), shortcut(z as Tensor4D, stride, cout - cin)));
      });
    }
    return { hidden: x, mask: null };
  }

  logits(f: Forward, { hidden }: Features): Tensor {
    return f.logits('logits', tf.mean(hidden, [1, 2]), (z) => f.linear('linear', z));
  }
}

/** Every stride-th pixel, with zero channels added on both sides. */
function shortcut(x: Tensor4D, stride: number, more: number): Tensor {
  if (stride === 1 && more === 0) return x;
  const [B, H, W, C] = x.shape;
  const taken = tf.stridedSlice(x, [0, 0, 0, 0], [B, H, W, C], [1, stride, stride, 1]);
  return tf.pad(taken, [[0, 0], [0, 0], [0, 0], [more / 2, more / 2]]);
}
