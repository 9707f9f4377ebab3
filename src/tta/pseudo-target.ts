import { Rng, tf, type Tensor, type Tensor2D, type Tensor4D } from '@graft/kernels';
import { pixelRows, resized } from '../models/segment-head.js';
import { augment } from './augment.js';
import type { Network, Source } from './network.js';
import { adam, type AdamConfig } from './optimiser.js';
import { BATCH, onward } from './statistics.js';
import { pupil, type Pupil } from './teacher.js';

/** The options of a teacher that averages over augmentations. */
export const averagingOptions = {
  nAug: { type: 'number', metavar: 'N', describe: 'augmented copies the teacher averages; of dense predictions, scales and mirrors', default: 32, min: 1 },
  pTh: { type: 'number', metavar: 'P', describe: 'augment where the anchor\'s mean confidence is below this', default: 0.92, min: 0 },
} as const;

/** The mean and the unbiased variance [B, C] of the logits over n augmentations of a batch. */
export function overAugmentations(network: Network, x: Tensor4D, n: number, rng: (copy: number) => Rng): { mean: Tensor2D; variance: Tensor2D } {
  let held: Tensor2D[] = [];
  for (let i = 0; i < n; i++) {
    const [mean, squares] = held;
    const next = tf.tidy(() => {
      const z = network.dense ? viewLogits(network, x, i) : network.logits(augment(x, rng(i)));
      if (!mean) return [z, tf.zerosLike(z)];
      return onward(mean, squares, z, i + 1);
    });
    tf.dispose(held);
    held = next as Tensor2D[];
  }
  return { mean: held[0], variance: tf.div(held[1], Math.max(1, n - 1)) };
}

/** Scales of the views of dense predictions, each as it is and mirrored: multi-scale testing. */
const SCALES = [1, 0.5, 0.75, 1.25, 1.5, 1.75, 2];

/** What view i predicts for the pixels of x: dense predictions are turned back. A network of one image size sees every view at that size. */
function viewLogits(network: Network, x: Tensor4D, i: number): Tensor2D {
  const [, H, W] = x.shape, scale = network.oneSize ? 1 : SCALES[(i >> 1) % SCALES.length], mirrored = i % 2 === 1;
  const turned = (t: Tensor4D): Tensor4D => (mirrored ? tf.reverse(t, 2) : t);
  return pixelRows(resized(turned(network.maps(turned(resized(x, Math.round(H * scale), Math.round(W * scale))))), H, W));
}

/**
 * z̄ (Wang et al., 2022, CoTTA): the teacher's logits, averaged over N augmentations A_i where the anchor, the source model, is unsure,
 * mean_b max_c softmax(f_θ₀(x)) < p_th; of dense predictions at each pixel where it is unsure, over scales and mirrors in place of
 * augmentations. Gives z̄ [B, C] and what frees the anchor.
 */
export function pseudoTarget(source: Source, teacher: Network, { nAug, pTh }: { nAug: number; pTh: number }, seed: number): { target(x: Tensor4D, steps: number): Tensor2D; dispose(): void } {
  const anchor = source.copy([], BATCH);
  const confidence = (x: Tensor4D): Tensor => tf.max(tf.softmax(anchor.logits(x)), -1, true);
  const averaged = (x: Tensor4D, steps: number): Tensor2D => overAugmentations(teacher, x, nAug, (i) => new Rng('cotta', seed, steps, i)).mean;
  function target(x: Tensor4D, steps: number): Tensor2D {
    if (pTh === 0) return teacher.logits(x);
    const each = confidence(x), sure = (source.dense ? tf.min(each) : tf.mean(each)).dataSync()[0] >= pTh;
    if (sure) return teacher.logits(x);
    return source.dense ? tf.where(tf.tile(tf.greaterEqual(each, pTh), [1, source.classes]), teacher.logits(x), averaged(x, steps)) : averaged(x, steps);
  }
  return {
    target: (x, steps) => tf.tidy(() => target(x, steps)),
    dispose: () => anchor.dispose(),
  };
}

/** A pupil of all weights with CoTTA's teacher: `target` gives z̄. */
export function averagingPupil(source: Source, config: AdamConfig & { nAug: number; pTh: number }, seed: number): Pupil & { target(x: Tensor4D): Tensor2D } {
  const names = source.parameters(), student = source.copy(names, BATCH), teacher = source.copy(names, BATCH);
  const self = pupil(student, teacher, adam(student.own, config)), { target, dispose } = pseudoTarget(source, teacher, config, seed), own = self.dispose;
  return Object.assign(self, {
    target: (x: Tensor4D) => target(x, self.steps),
    dispose() {
      own();
      dispose();
    },
  });
}
