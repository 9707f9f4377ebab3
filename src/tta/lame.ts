import { tf } from '@graft/kernels';
import { softmax } from '../metrics/calibration.js';
import { unchanging } from './learner.js';
import { unitRows } from './losses.js';
import type { TtaMethod } from './method.js';
import { STORED } from './statistics.js';

type Affinity = 'knn' | 'rbf' | 'linear';

/**
 * LAME (Boudiaf et al., 2022): the source model's probabilities of a batch, corrected so that images with similar features get similar
 * classes (equation 5); no parameter changes. The logits are ln Y.
 */
const lame: TtaMethod<{ affinity: Affinity; neighbours: number }> = {
  name: 'lame',
  summary: 'probabilities corrected by the neighbours within the batch',
  paper: { title: 'Parameter-free Online Test-time Adaptation', authors: 'Boudiaf, Mueller, Ben Ayed, Bertinetto', year: 2022, url: 'https://arxiv.org/abs/2201.05718' },
  options: {
    affinity: { type: 'string', describe: 'what binds two images: being among the nearest, a Gaussian of their distance, or their cosine', default: 'knn', choices: ['knn', 'rbf', 'linear'] },
    neighbours: { type: 'number', metavar: 'K', describe: 'nearest neighbours; of rbf: the width is the mean distance to the K-th, the image itself the first', default: 5, min: 1 },
  },
  start(source, { affinity, neighbours }) {
    const network = source.copy([], STORED);
    return unchanging(network, (x) => {
      const { features, logits } = network.predict(x);
      const Y = laplacian(tf.softmax(logits).arraySync() as number[][], affinities(unitRows(features).arraySync(), affinity, neighbours));
      return tf.tensor2d(Y.map((row) => [...row].map((y) => Math.log(Math.max(y, 1e-300)))));
    });
  },
};

/**
 * W [B, B] of unit features. Among the k nearest of knn an image does not count itself; of rbf and linear it does, and is bound to itself,
 * as in the authors' code.
 */
export function affinities(f: readonly number[][], kind: Affinity, k: number): number[][] {
  const cosine = f.map((a) => f.map((b) => a.reduce((s, v, c) => s + v * b[c], 0)));
  if (kind === 'linear') return cosine;
  const square = cosine.map((row, i) => row.map((v, j) => (i === j ? 0 : Math.max(0, 2 - 2 * v))));
  const sorted = square.map((row, i) => row.map((_, j) => j).sort((a, b) => Number(b === i) - Number(a === i) || row[a] - row[b] || a - b));
  if (kind === 'knn') return sorted.map((near) => near.slice(1, k + 1)).map((near) => f.map((_, j) => Number(near.includes(j))));
  const sigma = sorted.reduce((s, near, i) => s + Math.sqrt(square[i][near[Math.min(k, f.length) - 1]]), 0) / f.length;
  return square.map((row) => row.map((d) => Math.exp(-d / Math.max(2 * sigma * sigma, 1e-12))));
}

/**
 * Y ← softmax(ln p + W Y) by rows from Y = p, until the energy Σ (U∘Y - (W Y)∘Y + Y∘ln Y), U = -ln p, has settled
 * (relative change below 1e-8) or after 100 iterations.
 */
export function laplacian(p: readonly number[][], W: readonly number[][]): Float64Array[] {
  const logp = p.map((row) => row.map((v) => Math.log(v + 1e-10)));
  const sparse = W.map((row) => [...row.entries()].filter(([, w]) => w !== 0));
  let Y = logp.map((row) => softmax(row)), energy = Infinity;
  for (let iteration = 0; iteration < 100; iteration++) {
    const pull = sparse.map((near) => logp[0].map((_, c) => near.reduce((s, [j, w]) => s + w * Y[j][c], 0)));
    Y = logp.map((row, i) => softmax(row.map((v, c) => v + pull[i][c])));
    const now = Y.reduce((sum, row, i) => sum + row.reduce((s, y, c) => s + y * (Math.log(Math.max(y, 1e-20)) - logp[i][c] - pull[i][c]), 0), 0);
    if (iteration > 1 && Math.abs(now - energy) <= 1e-8 * Math.abs(energy)) break;
    energy = now;
  }
  return Y;
}

export default lame;
