import { Rng, tf, type Tensor2D, type Tensor4D } from '@graft/kernels';
import { augment } from './augment.js';
import type { Network, Source } from './network.js';
import { adam, type AdamConfig } from './optimiser.js';
import { BATCH, onward } from './statistics.js';
import { pupil, type Pupil } from './teacher.js';

/** The options of a teacher that averages over augmentations. */
export const averagingOptions = {
  nAug: { type: 'number', metavar: 'N', describe: 'augmented copies the teacher averages', default: 32, min: 1 },
  pTh: { type: 'number', metavar: 'P', describe: 'augment where the anchor\'s mean confidence is below this', default: 0.92, min: 0 },
} as const;

/** The mean and the unbiased variance [B, C] of the logits over n augmentations of a batch. */
export function overAugmentations(network: Network, x: Tensor4D, n: number, rng: (copy: number) => Rng): { mean: Tensor2D; variance: Tensor2D } {
  let held: Tensor2D[] = [];
  for (let i = 0; i < n; i++) {
    const [mean, squares] = held;
    const next = tf.tidy(() => {
      const z = network.logits(augment(x, rng(i)));
      if (!mean) return [z, tf.zerosLike(z)];
      return onward(mean, squares, z, i + 1);
    });
    tf.dispose(held);
    held = next as Tensor2D[];
  }
  return { mean: held[0], variance: tf.div(held[1], Math.max(1, n - 1)) };
}

/**
 * z̄ (Wang et al., 2022, CoTTA): the teacher's logits, averaged over N augmentations A_i where the anchor, the source model, is unsure,
 * mean_b max_c softmax(f_θ₀(x)) < p_th. Gives z̄ [B, C] and what frees the anchor.
 */
export function pseudoTarget(source: Source, teacher: Network, { nAug, pTh }: { nAug: number; pTh: number }, seed: number): { target(x: Tensor4D, steps: number): Tensor2D; dispose(): void } {
  const anchor = source.copy([], BATCH);
  const sure = (x: Tensor4D): boolean => pTh === 0 || tf.mean(tf.max(tf.softmax(anchor.logits(x)), -1)).dataSync()[0] >= pTh;
  return {
    target: (x, steps) => tf.tidy(() => (sure(x) ? teacher.logits(x) : overAugmentations(teacher, x, nAug, (i) => new Rng('cotta', seed, steps, i)).mean)),
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
