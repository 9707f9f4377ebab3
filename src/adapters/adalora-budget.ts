import { tf, type Rng, type Tensor } from '@graft/kernels';
import type { StepCall } from './method.js';

/** The importance of every triplet, [r, 1] by site. */
export type Triplets = ReadonlyMap<string, Tensor>;

/** The total rank allowed at a step (eq. 12), from `full` down to `target`. */
export function budgetAt(step: number, totalSteps: number, full: number, target: number, { tinit, tfinal }: { tinit: number; tfinal: number }): number {
  if (step <= tinit) return full;
  if (step > totalSteps - tfinal) return target;
  const left = 1 - (step - tinit) / (totalSteps - tfinal - tinit);
  return Math.trunc((full - target) * left ** 3 + target);
}

/**
 * S_k = s(λ_k) + mean_i s(P_ik) + mean_j s(Q_kj) (eq. 7), where s = Ī·Ū of each number (eqs. 8 to 11): running means of its
 * sensitivity |w·∂L/∂w| and of how far that strays from its mean. Both are kept as buffers; without `update` they stay as they are.
 */
export function importance(call: StepCall, site: string, decay: Decay, update: boolean): Tensor {
  const [A, E, B] = ['lora_A', 'lora_E', 'lora_B'].map((name) => scores(call, `${site}.${name}`, decay, update));
  return tf.add(E, tf.add(tf.mean(A, 1, true), tf.reshape(tf.mean(B, 0), [-1, 1])));
}

interface Decay { beta1: number; beta2: number }

function scores(call: StepCall, name: string, { beta1, beta2 }: Decay, update: boolean): Tensor {
  const w = call.params.get(name)!, gradient = call.grads.get(name);
  const mean = (suffix: string, beta: number, value: () => Tensor): Tensor => {
    const old = call.buffers.get(`${name}.${suffix}`) ?? tf.zerosLike(w);
    if (!update) return old;
    const moved = tf.add(tf.mul(old, beta), tf.mul(value(), 1 - beta));
    call.setBuffer(`${name}.${suffix}`, moved);
    return moved;
  };
  const I = gradient ? tf.abs(tf.mul(w, tf.mul(gradient, call.gradScale))) : tf.zerosLike(w);
  const sensitivity = mean('sensitivity', beta1, () => I);
  return tf.mul(sensitivity, mean('uncertainty', beta2, () => tf.abs(tf.sub(I, sensitivity))));
}

/** What an allocation does to a site's triplets, [r, 1] of zeros and ones: `values` keeps λ, `pattern` lets it stand from now on. */
export interface Masks { values: Tensor; pattern: Tensor }

/**
 * Triplets above the threshold stand, the others fall. With p > 0 (adaptive rank sampling) each changes sides with that probability: one
 * that should stand is pruned, one that should fall is in the pattern again, though its λ starts from zero.
 */
export function masksFor(importance: Tensor, threshold: number, p: number, rng: Rng): Masks {
  const above = tf.cast(tf.greater(importance, threshold), 'float32');
  if (p === 0) return { values: above, pattern: above };
  const swapped = tf.tensor(Float32Array.from({ length: importance.size }, () => (rng.uniform() < p ? 1 : 0)), importance.shape);
  return { values: tf.mul(above, tf.sub(1, swapped)), pattern: tf.abs(tf.sub(above, swapped)) };
}

/** The k-th smallest importance of all: what is at most that much goes. */
export function thresholdFor(triplets: Triplets, k: number): number {
  const all = [...triplets.values()].flatMap((t) => [...t.dataSync()]);
  return all.sort((a, b) => a - b)[k - 1];
}
