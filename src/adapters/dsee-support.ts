import { matMulDouble, qr, type Rng } from '@graft/kernels';
import { usageError } from '../errors.js';
import type { Site } from '../models/site.js';
import { inputFirst } from './low-rank.js';

export type SupportKind = 'grebsmo' | 'magnitude' | 'random';

const OUTER = 100, INNER = 2, GROWTH = 5, THRESHOLD = 0.01;

/** The support Ω of S₂: N flat indices into W [out, in], rising. @param W as stored */
export function support(kind: SupportKind, W: Float32Array, site: Site, N: number, rng: Rng): Int32Array {
  const [m, n] = [site.dimOut, site.dimIn];
  if (N > m * n) throw usageError(`dsee: --sparse ${N} is more than the ${m}×${n} weight of ${site.name} has entries`);
  if (kind === 'random') return Int32Array.from(rng.permutation(m * n).slice(0, N)).sort();
  const matrix = Float64Array.from({ length: m * n }, (_, i) => (inputFirst(site) ? W[(i % n) * m + Math.floor(i / n)] : W[i]));
  const S = kind === 'grebsmo' ? sparsePart(matrix, m, n, N, rng) : matrix;
  return Int32Array.from(Array.from(S.keys()).sort((a, b) => Math.abs(S[b]) - Math.abs(S[a]) || a - b).slice(0, N)).sort();
}

/**
 * The sparse part S of W = U V + S + noise by greedy bilateral factorisation with a soft threshold (GreBsmo: Zhou and Tao, 2013): V [k, n] grows
 * by five rows from what is left. DSEE runs 100 rounds whatever the weight, which makes k about 500 of 768; where W is a matrix of low rank and
 * spikes, U V then takes the spikes, too. So it ends before S, which gets sparser as V grows, gets denser again or has fewer than N entries.
 */
function sparsePart(W: Float64Array, m: number, n: number, N: number, rng: Rng): Float64Array {
  let V: Float64Array = Float64Array.from({ length: n }, () => rng.normal());
  let best: Float64Array = W, entries = Infinity;
  const rounds = Math.max(1, Math.min(OUTER, Math.floor((0.65 * Math.min(m, n)) / GROWTH)));
  const D = new Float64Array(m * n);
  for (let round = 0; round < rounds; round++) {
    const S = new Float64Array(m * n), k = V.length / n;
    let now = 0;
    for (let inner = 0; inner < INNER; inner++) {
      for (let i = 0; i < D.length; i++) D[i] = W[i] - S[i];
      const { Q, k: kept } = qr(matMulDouble(D, transposed(V, k, n), m, n, k), m, k);
      V = matMulDouble(Q, D, kept, m, n, true);
      const UV = matMulDouble(Q, V, m, kept, n);
      now = 0;
      for (let i = 0; i < D.length; i++) {
        const left = W[i] - UV[i];
        S[i] = left > THRESHOLD ? left - THRESHOLD : left < -THRESHOLD ? left + THRESHOLD : 0;
        D[i] = left - S[i];
        if (S[i] !== 0) now++;
      }
    }
    if (now > entries || now < N) break;
    [best, entries] = [S, now];
    // The first rows of the R of D come of its first columns.
    const g = Math.min(GROWTH, m, n), { Q } = qr(Float64Array.from({ length: m * g }, (_, i) => D[Math.floor(i / g) * n + (i % g)]), m, g);
    const grown = new Float64Array(V.length + g * n);
    grown.set(V);
    grown.set(matMulDouble(Q, D, g, m, n, true), V.length);
    V = grown;
  }
  return best;
}

/** [k, n] as [n, k]. */
function transposed(V: Float64Array, k: number, n: number): Float64Array {
  const T = new Float64Array(V.length);
  for (let i = 0; i < k; i++) for (let j = 0; j < n; j++) T[j * k + i] = V[i * n + j];
  return T;
}
