import { crossEntropy, tf, type Tensor, type Tensor2D, type Tensor4D } from '@graft/kernels';
import { learner } from './learner.js';
import { entropy, marginOption, weightedMean } from './losses.js';
import type { SourceBatch, TtaMethod } from './method.js';
import type { Source } from './network.js';
import { adam, adamOptions, type AdamConfig } from './optimiser.js';
import { sourceOption } from './prepared.js';
import { selection, selectOption } from './selection.js';
import { BATCH } from './statistics.js';

interface Config extends AdamConfig, Record<string, unknown> { margin: number; similarity: number; lambda: number; select: 'all' | 'crowd'; sourceData?: string }

/**
 * EATA (Niu et al., 2022): Tent on the rows that are reliable, H(p) < E₀, and not redundant, |cos(m, p)| < ε, each weighted with
 * exp(E₀ - H(p)) (equations 3 to 6); m is the moving average of the selected predictions. With images of the source domain,
 * λ Σ F (θ - θ₀)² holds the weights that matter there (equations 8 and 9). Without them this is ETA. The logits are those before the update.
 */
const eata: TtaMethod<Config> = {
  name: 'eata',
  summary: 'Tent on reliable and non-redundant images, held by Fisher information',
  dense: true,
  paper: { title: 'Efficient Test-Time Model Adaptation without Forgetting', authors: 'Niu, Wu, Zhang, Chen, Zheng, Zhao, Tan', year: 2022, url: 'https://arxiv.org/abs/2204.02610' },
  options: {
    ...adamOptions(1e-3),
    margin: marginOption(0.4),
    similarity: { type: 'number', describe: 'largest cosine similarity to the average of the selected predictions', default: 0.4, min: 0 },
    lambda: { type: 'number', describe: 'weight of the Fisher term, where --source-data is given', default: 1, min: 0 },
    ...selectOption,
    sourceData: sourceOption('for the Fisher information (about 2000 will do)'),
  },
  prepare: fisher,
  start(source, { margin, similarity, lambda, select, ...rates }, _seed, F = new Map()) {
    const network = source.copy(source.affine(), BATCH), selected = selection(source, select);
    const training = learner(network, adam(network.own, rates));
    const e0 = margin * Math.log(source.classes);
    let m: Float32Array | null = null;

    /** The weight of each row, 0 for those left out; m moves on. */
    function weights(x: Tensor4D, z: Tensor2D): number[] {
      const [H, p, counts] = [entropy(z).dataSync(), tf.softmax(z).arraySync(), selected.rows(x, z)];
      const chosen = p.map((row, i) => counts[i] && H[i] < e0 && (!m || Math.abs(cosine(m, row)) < similarity));
      const mean = meanOf(p.filter((_, i) => chosen[i]));
      if (mean) m = m ? m.map((v, c) => 0.9 * v + 0.1 * mean[c]) : Float32Array.from(mean);
      return chosen.map((c, i) => (c ? Math.exp(e0 - H[i]) : 0));
    }

    return {
      ...training,
      step(x) {
        let any = false;
        const { grads, kept } = network.gradients(() => {
          const z = network.logits(x), w = weights(x, z);
          any = w.some((v) => v > 0);
          return { loss: tf.add(weightedMean(entropy(z), w), tf.mul(lambda, anchored(source, network.own, F))), kept: z };
        });
        if (any) training.optimiser.step(grads);
        tf.dispose([...grads.values()]);
        return kept;
      },
      dispose: () => [training, selected].forEach((part) => part.dispose()),
      state: () => new Map<string, Tensor>([...training.state(), ['selected.any', tf.scalar(Number(m !== null), 'int32')], ['selected.mean', m ? tf.tensor1d(m) : tf.zeros([source.classes])]]),
      restore(state) {
        training.restore(state);
        m = state.get('selected.any')!.dataSync()[0] ? Float32Array.from(state.get('selected.mean')!.dataSync()) : null;
      },
    };
  },
};

/** Σ_j F_j (θ_j - θ₀_j)²; 0 without F. */
export function anchored(source: Pick<Source, 'value'>, theta: ReadonlyMap<string, Tensor>, F: ReadonlyMap<string, Tensor>): Tensor {
  return [...F].reduce<Tensor>((sum, [name, f]) => tf.add(sum, tf.sum(tf.mul(f, tf.square(tf.sub(theta.get(name)!, source.value(name)))))), tf.scalar(0));
}

/** F: the squared gradient of the cross-entropy to the model's own most likely classes, the mean over batches [B, H, W, 3]. */
function fisher(source: Source, batches: readonly SourceBatch[]): Map<string, Tensor> {
  const network = source.copy(source.affine(), BATCH);
  const F = new Map([...network.own].map(([name, v]) => [name, tf.tidy(() => tf.variable(tf.zerosLike(v), false))]));
  let count = 0;
  for (const { pixels: x } of batches) {
    const { grads, kept } = network.gradients(() => {
      const z = network.logits(x);
      return { loss: tf.mean(crossEntropy(z, tf.argMax(z, -1) as tf.Tensor1D)), kept: z };
    });
    count++;
    for (const [name, f] of F) tf.tidy(() => f.assign(tf.add(f, tf.div(tf.sub(tf.square(grads.get(name)!), f), count))));
    tf.dispose([kept, ...grads.values()]);
  }
  network.dispose();
  return F;
}

function cosine(a: ArrayLike<number>, b: readonly number[]): number {
  const dot = (u: ArrayLike<number>, v: ArrayLike<number>): number => b.reduce((s, _, i) => s + u[i] * v[i], 0);
  return dot(a, b) / Math.max(1e-12, Math.sqrt(dot(a, a) * dot(b, b)));
}

const meanOf = (rows: readonly number[][]): number[] | null => (rows.length === 0 ? null : rows[0].map((_, c) => rows.reduce((s, row) => s + row[c], 0) / rows.length));

export default eata;
