import { tf, type Tensor, type Tensor1D, type Tensor4D } from '@graft/kernels';
import type { ActiveGraft } from '../adapters/active.js';
import { usageError } from '../errors.js';
import type { Forward } from '../models/forward.js';
import type { NoiseBatch } from '../models/model.js';
import { CONDITIONS } from '../models/unet.js';
import type { Runtime } from '../runtime.js';
import { conditionTensors, type Condition } from './conditions.js';
import { noiseSchedule, type Level, type Schedule } from './schedule.js';

/** A diffusion model in use: predictions of the noise in images. */
export class Denoiser {
  readonly schedule: Schedule;
  /** [H, W, channels] of the images. */
  readonly shape: readonly [number, number, number];
  /** How many conditions it knows. */
  readonly classes: number;

  /** @param record its passes are recorded for gradients with respect to the images. @throws GraftError (usage) for a model of another kind */
  constructor(private readonly runtime: Runtime, private readonly grafts: readonly ActiveGraft[] = runtime.grafts, private readonly record = false) {
    const { model, head, checkpoint } = runtime;
    if (model.input !== 'noise') throw usageError(`${checkpoint.path}: this is a ${model.type}, no diffusion model`);
    this.schedule = noiseSchedule(checkpoint);
    this.shape = [...model.imageSize!, model.hiddenSize];
    this.classes = head?.labels?.length ?? 0;
  }

  /**
   * ε(x_t, t, c) of images x [B, H, W, channels], or with classifier-free guidance (Ho & Salimans, 2022) ε(x_t, t, ∅) + g (ε(x_t, t, c) - ε(x_t, t, ∅)).
   * Both halves see the grafts as the condition has them.
   */
  noise(x: Tensor, t: number | readonly number[], conditions: readonly Condition[], guidance = 1): Tensor {
    if (guidance === 1 || this.classes === 0) return this.predict(x, t, conditions, conditions);
    const none: Condition[] = conditions.map(() => []);
    const [given, free] = tf.split(this.predict(tf.concat([x, x]), typeof t === 'number' ? t : [...t, ...t], [...conditions, ...none], [...conditions, ...conditions]), 2);
    return tf.add(free, tf.mul(tf.sub(given, free), guidance));
  }

  /** The same under embeddings [B, T, d] in place of conditions. */
  noiseUnder(context: Tensor, x: Tensor, t: number): Tensor {
    return this.run({ kind: 'noise', x: x as Tensor4D, t: tf.fill([x.shape[0]], t), context });
  }

  /** x̂_0 = (x_t - √(1 - ᾱ_t) ε)/√ᾱ_t, cut as the schedule says. */
  clean(x: Tensor, epsilon: Tensor, { alpha }: Pick<Level, 'alpha'>): Tensor {
    const x0 = tf.div(tf.sub(x, tf.mul(epsilon, Math.sqrt(1 - alpha))), Math.sqrt(alpha)), { clip } = this.schedule;
    return Number.isFinite(clip) ? tf.clipByValue(x0, -clip, clip) : x0;
  }

  /** Embeddings of a condition: [1, T, d]. */
  embedding(condition: Condition): Tensor {
    const table = this.forward().weight(`${CONDITIONS}.weight`);
    return tf.expandDims(tf.gather(table, tf.tensor1d(condition.length > 0 ? [...condition] : [this.classes], 'int32')));
  }

  private predict(x: Tensor, t: number | readonly number[], conditions: readonly Condition[], prompts: readonly Condition[]): Tensor {
    const times = typeof t === 'number' ? tf.fill([x.shape[0]], t) as Tensor1D : tf.tensor1d(t as number[], 'float32');
    return this.run({ kind: 'noise', x: x as Tensor4D, t: times, ...conditionTensors(conditions, this.classes) }, prompts);
  }

  private forward(prompt?: readonly Condition[]): Forward {
    return this.runtime.forward({ record: this.record, route: prompt ? { prompt, labels: this.runtime.head?.labels ?? [] } : {} }, this.grafts);
  }

  private run(batch: NoiseBatch, prompts?: readonly Condition[]): Tensor {
    return this.runtime.model.backbone(this.forward(prompts), batch).hidden;
  }
}
