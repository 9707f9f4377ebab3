import { Rng, tf } from '@graft/kernels';
import { fittedPixels, rawShape, type Pixels } from '../data/image-input.js';
import { conditionReader, conditionTensors, type Condition } from '../diffusion/conditions.js';
import { normalised } from '../diffusion/images.js';
import { noiseSchedule } from '../diffusion/schedule.js';
import { where } from './classify.js';
import type { Example, Objective } from './objective.js';

interface Shown extends Example { image: Pixels; condition: Condition; row: number }

/**
 * The noise in an image (Ho et al., 2020, eq. 14): the mean of ‖ε - ε_θ(√ᾱ_t x_0 + √(1 - ᾱ_t) ε, t, c)‖² over its values, t uniform. Some of the
 * images are shown without their condition, which guidance needs (Ho & Salimans, 2022). Time, noise and this are drawn anew each epoch
 * from (seed, epoch, row), whatever the batch.
 */
const diffusion: Objective<Shown> = {
  name: 'diffusion',
  summary: 'the noise in images, under what prompt or label says (DDPM)',
  task: 'diffusion',
  kind: 'noise',
  metric: { name: 'noise-mse', larger: false },
  options: {
    dropCondition: { type: 'number', metavar: 'P', describe: 'probability that an image is shown without its condition', default: 0.1, min: 0, max: 1 },
  },
  require: (table) => table.requireColumns(['image']),

  async prepare(rows, first, p) {
    const shape = rawShape(p.table.schema.fields.find((f) => f.name === 'image')?.metadata), { model, head } = p.runtime;
    const condition = conditionReader(head!, p.table);
    return Promise.all(rows.map(async (row, i) => ({
      length: 1, row: first + i, condition: condition(row, first + i), image: await fittedPixels(row.image, shape, model.imageSize!, where(p, first + i)),
    })));
  },

  batch(examples, epoch, { runtime: { model, head, checkpoint }, options, seed }) {
    const { alphas } = noiseSchedule(checkpoint), channels = model.hiddenSize, [H, W] = model.imageSize!, size = H * W * channels;
    const x = normalised(examples.map((e) => e.image), channels), noise = new Float32Array(x.length);
    const drawn = examples.map((e, b) => {
      const rng = new Rng('diffusion', seed, epoch, e.row), t = rng.integer(alphas.length), dropped = rng.uniform() < Number(options.dropCondition ?? 0);
      const [kept, added] = [Math.sqrt(alphas[t]), Math.sqrt(1 - alphas[t])];
      for (let i = b * size; i < (b + 1) * size; i++) x[i] = kept * x[i] + added * (noise[i] = rng.normal());
      return { t, condition: dropped ? [] : e.condition };
    });
    return {
      inputs: { kind: 'noise', x: tf.tensor4d(x, [examples.length, H, W, channels]), t: tf.tensor1d(drawn.map((d) => d.t), 'float32'), ...conditionTensors(drawn.map((d) => d.condition), head!.labels?.length ?? 0) },
      targets: { count: examples.length, labels: new Int32Array(0), values: noise },
    };
  },

  loss: (prediction, { values }) => tf.sum(squaredErrors(prediction, values!)),
  outputs: (prediction, _examples, { values }) => [...squaredErrors(prediction, values!).dataSync()].map((mse) => ({ noise_mse: mse })),
};

export default diffusion;

/** The mean squared error of each image: [B]. */
export const squaredErrors = (prediction: tf.Tensor, values: Float32Array): tf.Tensor1D =>
  tf.mean(tf.square(tf.sub(prediction, tf.tensor(values, prediction.shape))), [1, 2, 3]) as tf.Tensor1D;
