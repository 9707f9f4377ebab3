import { Rng, tf, type Tensor, type Tensor2D, type Tensor4D } from '@graft/kernels';
import { augmix } from './augmix.js';
import { learner } from './learner.js';
import { marginalEntropy } from './losses.js';
import type { TtaMethod } from './method.js';
import { sgd, sgdOptions } from './optimiser.js';
import { mixed } from './statistics.js';

interface Config extends Record<string, unknown> { lr: number; momentum: number; copies: number; prior: number }

/**
 * MEMO (Zhang et al., 2022): each image by itself. From θ₀, one step of all parameters down the entropy of the mean prediction over
 * augmented copies (equation 2), then the prediction. Batch statistics count as one image beside `prior` of the stored ones.
 */
const memo: TtaMethod<Config> = {
  name: 'memo',
  summary: 'marginal entropy of augmented copies, each image by itself',
  paper: { title: 'MEMO: Test Time Robustness via Adaptation and Augmentation', authors: 'Zhang, Levine, Finn', year: 2022, url: 'https://arxiv.org/abs/2110.09506' },
  options: {
    ...sgdOptions(0.005, 0),
    copies: { type: 'number', metavar: 'B', describe: 'augmented copies of an image', default: 32, min: 1 },
    prior: { type: 'number', metavar: 'N', describe: 'images the stored statistics of normalisation count as, beside one of the batch\'s', default: 16, min: 0 },
  },
  start(source, { copies, prior, ...rates }, seed) {
    const network = source.copy(source.parameters(), mixed(prior / (prior + 1)));
    const { optimiser, descend, dispose } = learner(network, sgd(network.own, rates));

    /** The logits [1, C] of one image [1, H, W, 3]. Its copies depend on the image alone, not on its place in the stream. */
    const alone = (one: Tensor): Tensor2D => tf.tidy(() => {
      const x = one as Tensor4D, [, H, W] = x.shape, pixels = x.dataSync() as Float32Array;
      const views = Array.from({ length: copies }, (_, i) => tf.tensor3d(augmix(pixels, H, W, new Rng('memo', seed, i)), [H, W, 3]));
      for (const [name, theta] of network.own) theta.assign(source.value(name));
      optimiser.reset();
      descend(() => {
        const z = network.logits(tf.stack(views) as Tensor4D);
        return { loss: marginalEntropy(z), kept: z as Tensor };
      }).dispose();
      return network.logits(x);
    });

    return {
      step: (x) => tf.concat(tf.split(x, x.shape[0]).map(alone), 0),
      state: () => new Map(),
      restore: () => undefined,
      learnt: () => new Map(),
      dispose,
    };
  },
};

export default memo;
