import { scoped, tf, type Tensor, type Tensor2D } from '@graft/kernels';
import { unitRows } from './losses.js';
import type { SourceBatch, TtaMethod } from './method.js';
import type { Source } from './network.js';
import { sourceOption } from './prepared.js';
import { STORED } from './statistics.js';

interface Config extends Record<string, unknown> { neighbours: number; temperature: number; confidence: number; gate: 'prob' | 'official' }

/**
 * AdaNPC (Zhang et al., 2023): the classifier is a memory of normalised source features with their labels; the classes of the k nearest,
 * weighted with softmax(similarity / τ), are the prediction (equation 1), and rows predicted with enough confidence join the memory with the
 * class they were predicted as. No parameter changes. The logits are ln p.
 */
const adanpc: TtaMethod<Config> = {
  name: 'adanpc',
  summary: 'nearest neighbours in a memory that confident images join',
  paper: { title: 'AdaNPC: Exploring Non-Parametric Classifier for Test-Time Adaptation', authors: 'Zhang, Wang, Jin, Yuan, Zhang, Wang, Jin, Tan', year: 2023, url: 'https://arxiv.org/abs/2304.12566' },
  options: {
    neighbours: { type: 'number', metavar: 'K', describe: 'nearest rows of the memory that vote', default: 100, min: 1 },
    temperature: { type: 'number', metavar: 'TAU', describe: 'how much nearer ones count more', default: 0.1, min: 1e-3 },
    confidence: { type: 'number', metavar: 'P', describe: 'rows join the memory from this confidence on; above 1 none does', default: 0.1, min: 0 },
    gate: { type: 'string', describe: 'confidence is the largest class score, or, as in the authors\' code, the largest softmax over the scores', default: 'prob', choices: ['prob', 'official'] },
    sourceData: sourceOption('labelled, for the memory'),
  },
  needsSource: true,
  labelled: true,
  prepare,
  start(source, { neighbours, temperature, confidence, gate }, _seed, prepared) {
    const network = source.copy([], STORED), C = source.classes;
    const warm = [prepared!.get('keys')!, prepared!.get('labels')!].map((t) => t.clone());
    /** Keys [N, d] and labels [N] of what joined. */
    let joined = scoped(() => [tf.keep(tf.zeros([0, warm[0].shape[1]!])), tf.keep(tf.zeros([0], 'int32'))]);
    const replace = (parts: Tensor[]): void => {
      tf.dispose(joined);
      joined = parts.map((t) => tf.keep(t));
    };
    return {
      step(x) {
        const f = unitRows(network.predict(x).features);
        const [keys, labels] = warm.map((t, i) => (joined[i].shape[0] > 0 ? tf.concat([t, joined[i]], 0) : t));
        const p = vote(tf.matMul(f, keys as Tensor2D, false, true), labels, { neighbours, temperature, classes: C });
        const sure = tf.max(gate === 'prob' ? p : tf.softmax(p), -1).dataSync(), rows = [...sure.keys()].filter((i) => sure[i] >= confidence);
        if (rows.length > 0) {
          const at = tf.tensor1d(rows, 'int32'), added = [tf.gather(f, at), tf.gather(tf.argMax(p, -1), at)];
          replace(added.map((t, i) => (joined[i].shape[0] > 0 ? tf.concat([joined[i], t], 0) : t)));
        }
        return tf.log(p);
      },
      state: () => new Map([['memory.keys', joined[0].clone()], ['memory.labels', joined[1].clone()]]),
      restore: (state) => replace(['memory.keys', 'memory.labels'].map((n) => state.get(n)!.clone())),
      learnt: () => new Map(),
      dispose() {
        network.dispose();
        tf.dispose([...warm, ...joined]);
      },
    };
  },
};

/**
 * Class scores [B, C] of similarities [B, N] to rows of those labels: of the k most similar each counts softmax(s / τ) over these k.
 * 10⁻⁵ is added to every score, none is above 1.
 */
export function vote(similarity: Tensor2D, labels: Tensor, { neighbours, temperature, classes }: { neighbours: number; temperature: number; classes: number }): Tensor2D {
  return tf.tidy(() => {
    const { values, indices } = tf.topk(similarity, Math.min(neighbours, labels.shape[0])), weights = tf.softmax(tf.div(values, temperature));
    const own = tf.oneHot(tf.cast(tf.gather(labels, indices), 'int32'), classes, 1, 0, 'float32');
    return tf.minimum(tf.add(tf.sum(tf.mul(own, tf.expandDims(weights, -1)), 1), 1e-5), 1) as Tensor2D;
  });
}

/** The memory of the source: `keys` [N, d] of length 1 and `labels` [N]. */
function prepare(source: Source, batches: readonly SourceBatch[]): Map<string, Tensor> {
  const network = source.copy([], STORED);
  const keys = tf.tidy(() => tf.concat(batches.map(({ pixels }) => tf.tidy(() => unitRows(network.predict(pixels).features))), 0));
  network.dispose();
  return new Map<string, Tensor>([['keys', keys], ['labels', tf.concat(batches.map((b) => b.labels!), 0)]]);
}

export default adanpc;
