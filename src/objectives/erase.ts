import { Rng, scoped, tf, untracked, type Tensor } from '@graft/kernels';
import { conditionOf, type Condition } from '../diffusion/conditions.js';
import ddim from '../diffusion/ddim.js';
import { Denoiser } from '../diffusion/denoiser.js';
import { noiseFrom } from '../diffusion/images.js';
import { levels } from '../diffusion/schedule.js';
import { dataError, usageError } from '../errors.js';
import { where } from './classify.js';
import { squaredErrors } from './diffusion.js';
import type { Example, Objective, Preparation } from './objective.js';

interface Erased extends Example { concept: Condition; positive: Condition; neutral: Condition; row: number }

/**
 * Erasing with latent anchoring (Lyu et al., 2024), without images: from noise some steps of DDIM with the graft towards the concept c give x_t; there
 * ‖ε_graft(x_t, c) - [ε(x_t, c_∅) - η (ε(x_t, c_+) - ε(x_t, c_∅))]‖² is minimised, and λ ‖ε_graft(x_t, a) - ε(x_t, a)‖² at anchors a, random embeddings
 * far from c. A row is a concept: `prompt`, and where they differ from it and from nothing `positive` (c_+) and `neutral` (c_∅). Everything is drawn anew each epoch
 * from (seed, epoch, row).
 */
const erase: Objective<Erased> = {
  name: 'erase',
  summary: 'a concept made to be drawn as nothing or something else, others as before; the data names concepts (SPM)',
  task: 'diffusion',
  kind: 'noise',
  metric: { name: 'noise-mse', larger: false },
  options: {
    eraseGuidance: { type: 'number', metavar: 'η', describe: 'how far beyond the neutral prediction, away from the concept', default: 1 },
    anchorWeight: { type: 'number', metavar: 'λ', describe: 'weight of the anchors', default: 1000, min: 0 },
    anchors: { type: 'number', metavar: 'N', describe: 'anchors a step', default: 4, min: 1 },
    samplingSteps: { type: 'number', metavar: 'N', describe: 'steps of the sampler, of which a random number is run', default: 30, min: 2 },
    samplingGuidance: { type: 'number', metavar: 'G', describe: 'classifier-free guidance of the sampler', default: 3 },
  },
  require: (table) => table.requireColumns(['prompt']),

  async prepare(rows, first, p) {
    const labels = p.runtime.head!.labels ?? [], known = p.runtime.grafts.at(-1)?.config.concept as readonly string[] | undefined;
    const read = (value: unknown, column: string, row: number): Condition => conditionOf(value, labels) ?? fail(p, row, `${column} ${JSON.stringify(value)} is none of the model's ${labels.length} conditions`);
    return rows.map((row, i) => {
      const concept = read(row.prompt, 'prompt', first + i);
      if (concept.length === 0) fail(p, first + i, 'prompt names nothing to erase');
      if (known && !known.some((text) => String(conditionOf(text, labels)) === String(concept))) throw usageError(`${where(p, first + i)}: prompt ${JSON.stringify(row.prompt)} is no concept of the graft (${known.join('; ') || 'it has none'}); graft init-adapter --concept`);
      const given = (column: string, otherwise: Condition): Condition => (row[column] === null || row[column] === undefined ? otherwise : read(row[column], column, first + i));
      return { length: 1, row: first + i, concept, positive: given('positive', concept), neutral: given('neutral', []) };
    });
  },

  batch(examples, epoch, p) {
    const { runtime, options, seed } = p, o = { eraseGuidance: 1, anchorWeight: 1000, anchors: 4, samplingSteps: 30, samplingGuidance: 3, ...options } as Record<string, number>;
    const anchors = o.anchorWeight > 0 ? o.anchors : 0, changed = new Denoiser(runtime), frozen = new Denoiser(runtime, runtime.grafts.slice(0, -1));
    const steps = levels(changed.schedule, o.samplingSteps), T = changed.schedule.alphas.length;
    const drawn = examples.map((e) => {
      const rng = new Rng('erase', seed, epoch, e.row), k = 1 + rng.integer(o.samplingSteps - 1);
      return { ...e, rng, k, t: T - 1 - Math.floor((k * T) / o.samplingSteps) };
    });
    return untracked(() => scoped(() => {
      const xs = partly(changed, steps, drawn, o.samplingGuidance), x = tf.concat(xs), t = drawn.map((d) => d.t);
      const free = frozen.noise(x, t, drawn.map((d) => d.neutral)), asked = frozen.noise(x, t, drawn.map((d) => d.positive));
      const erased = tf.unstack(tf.sub(free, tf.mul(tf.sub(asked, free), o.eraseGuidance)));
      const parts = drawn.map((d, i) => {
        const c = frozen.embedding(d.concept), around = Array.from({ length: anchors }, () => tf.tensor(anchor(c.dataSync() as Float32Array, d.rng), c.shape));
        if (anchors === 0) return { x: xs[i], context: [c], values: [erased[i]], t: [d.t] };
        const same = tf.tile(xs[i], [anchors, 1, 1, 1]), kept = frozen.noiseUnder(tf.concat(around), same, d.t);
        return { x: tf.concat([xs[i], same]), context: [c, ...around], values: [erased[i], ...tf.unstack(kept)], t: new Array<number>(1 + anchors).fill(d.t) };
      });
      const weights = drawn.flatMap(() => [1, ...new Array<number>(anchors).fill(o.anchorWeight / Math.max(1, anchors))]);
      return {
        inputs: { kind: 'noise' as const, x: tf.keep(tf.concat(parts.map((q) => q.x))) as tf.Tensor4D, t: tf.keep(tf.tensor1d(parts.flatMap((q) => q.t), 'float32')), ...contexts(parts.flatMap((q) => q.context)) },
        targets: { count: examples.length, labels: new Int32Array(0), values: tf.stack(parts.flatMap((q) => q.values)).dataSync().slice() as Float32Array, weights: Float32Array.from(weights) },
      };
    }));
  },

  loss: (prediction, { values, weights }) => tf.sum(tf.mul(squaredErrors(prediction, values!), tf.tensor1d(weights!))),
  outputs(prediction, examples, { values }) {
    const errors = squaredErrors(prediction, values!).dataSync(), each = errors.length / examples.length;
    return examples.map((_, i) => ({ noise_mse: errors[i * each] }));
  },
};

export default erase;

function fail(p: Preparation, row: number, why: string): never {
  throw dataError(`${where(p, row)}: ${why}`);
}

/** Images from noise by k steps of DDIM towards their concepts, each [1, H, W, channels]. */
function partly(denoiser: Denoiser, steps: ReturnType<typeof levels>, drawn: readonly { concept: Condition; rng: Rng; k: number }[], guidance: number): Tensor[] {
  let x = noiseFrom(drawn.map((d) => d.rng), denoiser.shape);
  const found = new Array<Tensor>(drawn.length), down = [...steps].reverse();
  for (let i = 0; i < Math.max(...drawn.map((d) => d.k)); i++) {
    const next = scoped(() => {
      const x0 = denoiser.clean(x, denoiser.noise(x, down[i].t, drawn.map((d) => d.concept), guidance), down[i]);
      return tf.keep(ddim.step(down[i], x, x0, { eta: 0 }, () => x));
    });
    x.dispose();
    x = next;
    drawn.forEach((d, b) => { if (d.k === i + 1) found[b] = tf.slice(x, [b, 0, 0, 0], [1, -1, -1, -1]); });
  }
  x.dispose();
  return found;
}

/** Embeddings [1, T, d] of several T as one batch, with a mask where they differ. */
function contexts(all: readonly Tensor[]): { context: Tensor; mask?: tf.Tensor2D } {
  const T = Math.max(...all.map((c) => c.shape[1]!));
  const context = tf.keep(tf.concat(all.map((c) => tf.pad(c, [[0, 0], [0, T - c.shape[1]!], [0, 0]]))));
  if (all.every((c) => c.shape[1] === T)) return { context };
  return { context, mask: tf.keep(tf.tensor2d(all.map((c) => Array.from({ length: T }, (_, i) => Number(i < c.shape[1]!))), [all.length, T])) };
}

/**
 * An anchor for the embedding c: normal numbers of Frobenius norm 1, taken with probability 1 - cos(anchor, c), then as long as c within 20 %.
 */
export function anchor(c: Float32Array, rng: Rng): Float32Array {
  const norm = (v: Float32Array): number => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0)), size = norm(c);
  for (;;) {
    const z = Float32Array.from(c, () => rng.normal()), length = norm(z);
    const cosine = z.reduce((sum, v, i) => sum + v * c[i], 0) / (length * size || 1);
    if (rng.uniform() >= 1 - cosine) continue;
    const scale = (size / length) * rng.uniform(0.8, 1.2);
    return z.map((v) => v * scale);
  }
}
