import { augmentImages, crossEntropy, Rng, scoped, tf, type Augmentation, type Tensor, type Tensor2D, type Tensor4D } from '@graft/kernels';
import { unchanging } from './learner.js';
import { entropy } from './losses.js';
import type { SourceBatch, TtaMethod } from './method.js';
import type { Source } from './network.js';
import { assign, sgd, sgdOptions } from './optimiser.js';
import { sourceOption } from './prepared.js';
import { SourceImages } from './source-images.js';
import { STORED, TRAINING } from './statistics.js';

interface Config extends Record<string, unknown> { epochs: number; lr: number; momentum: number; weightDecay: number; shift: number; flip: boolean; ensemble: keyof typeof ENSEMBLES }

/** One distribution of two, log-probabilities [B, C] each: the model's for the image, the fine-tuned one's for its projection. */
export const ENSEMBLES = {
  /** The mean of the probabilities. */
  sum: (a: Tensor2D, b: Tensor2D): Tensor => tf.log(tf.mul(0.5, tf.add(tf.exp(a), tf.exp(b)))),
  /** For each image whichever has less entropy … */
  entropy: (a: Tensor2D, b: Tensor2D): Tensor => chosen(tf.lessEqual(entropy(a), entropy(b)), a, b),
  /** … or a larger largest probability. */
  confidence: (a: Tensor2D, b: Tensor2D): Tensor => chosen(tf.greaterEqual(tf.max(a, -1), tf.max(b, -1)), a, b),
  first: (a: Tensor2D): Tensor => a,
  second: (_: Tensor2D, b: Tensor2D): Tensor => b,
};

const chosen = (first: Tensor, a: Tensor2D, b: Tensor2D): Tensor => tf.where(tf.tile(tf.expandDims(first, 1), [1, a.shape[1]]), a, b);

/**
 * SDA (Guo et al., 2024): images are projected to what a diffusion model draws (`graft data diffuse --into projected`), and the model is fine-tuned to
 * images that it drew by class and projected likewise, --source-data, so that both lie in one domain. Its prediction for the projection is
 * averaged with that of the model as it was for the image itself. Nothing changes at test time: order and size of batches do not matter. Without
 * fine-tuning, --epochs 0, it is DDA (Gao et al., 2023).
 */
const sda: TtaMethod<Config> = {
  name: 'sda',
  summary: 'images projected by a diffusion model, for a model fine-tuned to what it draws, beside the image for the model as it was',
  paper: { title: 'Everything to the Synthetic: Diffusion-driven Test-time Adaptation via Synthetic-Domain Alignment', authors: 'Guo, Zhao, Ge, Du, Ni, Song, Shi, Huang', year: 2024, url: 'https://arxiv.org/abs/2406.04295' },
  options: {
    sourceData: sourceOption('drawn by class and projected: what the fine-tuning is on'),
    epochs: { type: 'number', metavar: 'N', describe: 'passes of the fine-tuning over them, in batches of --batch-size', default: 15, min: 0 },
    ...sgdOptions(5e-4, 0.9),
    weightDecay: { type: 'number', describe: 'weight decay of SGD', default: 1e-4, min: 0 },
    shift: { type: 'number', metavar: 'N', describe: 'images are shifted by up to so many pixels in fine-tuning', default: 2, min: 0 },
    flip: { type: 'boolean', describe: 'and mirrored half of the time', default: false },
    ensemble: { type: 'string', choices: Object.keys(ENSEMBLES), describe: 'how two predictions become one: the mean of the probabilities, the surer one by entropy or confidence, or one of them', default: 'sum' },
  },
  columns: ['projected'],
  needsSource: true,
  labelled: true,
  prepare: fineTuned,
  start(source, { ensemble }, _seed, prepared) {
    const original = source.copy([], STORED), own = source.copy(source.parameters(), STORED, source.buffers());
    assign(own.own, prepared!, '');
    return {
      ...unchanging(own, (x, others) => ENSEMBLES[ensemble](tf.logSoftmax(original.logits(x)), tf.logSoftmax(own.logits(others![0]))) as Tensor2D),
      learnt: () => new Map(own.own),
      dispose: () => [original, own].forEach((n) => n.dispose()),
    };
  },
};

export default sda;

/** Parameters and statistics of the model after SGD down the cross-entropy of labelled images. */
function fineTuned(source: Source, batches: readonly SourceBatch[], { epochs, lr, momentum, weightDecay, shift, flip }: Config, seed: number): Map<string, Tensor> {
  const network = source.copy(source.parameters(), TRAINING, source.buffers()), images = new SourceImages(batches);
  const optimiser = sgd(network.trained, { lr, momentum, weightDecay });
  for (let epoch = 0; epoch < epochs; epoch++) {
    const rng = new Rng('sda', seed, epoch);
    for (const { pixels, labels } of images.epoch(rng)) scoped(() => {
      const x = moved(pixels, rng, shift, flip);
      const { grads, kept } = network.gradients(() => {
        const z = network.logits(x);
        return { loss: tf.mean(crossEntropy(z, labels!)), kept: z };
      });
      optimiser.step(grads);
      tf.dispose([kept, ...grads.values()]);
    });
  }
  const learnt = new Map<string, Tensor>([...network.own].map(([name, t]) => [name, tf.tidy(() => tf.keep(tf.mul(t, 1)))]));
  [images, network, optimiser].forEach((o) => o.dispose());
  return learnt;
}

function moved(pixels: Tensor4D, rng: Rng, shift: number, flip: boolean): Tensor4D {
  if (shift === 0 && !flip) return pixels;
  const pixel = (): number => rng.integer(2 * shift + 1) - shift;
  return augmentImages(pixels, Array.from({ length: pixels.shape[0] }, (): Augmentation => ({
    colours: [['brightness', 1], ['contrast', 1], ['saturation', 1], ['hue', 0], ['gamma', 1]], affine: { angle: 0, scale: 1, dx: pixel(), dy: pixel() },
    blur: 0.001, flip: flip && rng.uniform() < 0.5, noise: { std: 0, keys: [0, 0] },
  })));
}
