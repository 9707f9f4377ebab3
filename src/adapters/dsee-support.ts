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
  for (let round = 0; round < rounds; round++) {
    let S: Float64Array = new Float64Array(m * n), left = W;
    for (let inner = 0; inner < INNER; inner++) {
      const k = V.length / n;
      const D = W.map((w, i) => w - S[i]);
      const Vt = Float64Array.from({ length: V.length }, (_, i) => V[(i % k) * n + Math.floor(i / k)]);
      const { Q, k: kept } = qr(matMulDouble(D, Vt, m, n, k), m, k);
      V = matMulDouble(Q, D, kept, m, n, true);
      const UV = matMulDouble(Q, V, m, kept, n);
      left = W.map((w, i) => w - UV[i]);
      S = left.map((x) => Math.sign(x) * Math.max(0, Math.abs(x) - THRESHOLD));
    }
    const now = S.reduce((count, x) => count + (x !== 0 ? 1 : 0), 0);
    if (now > entries || now < N) break;
    [best, entries] = [S, now];
    const { R, k } = qr(left.map((x, i) => x - S[i]), m, n);
    const grown = new Float64Array(V.length + Math.min(GROWTH, k) * n);
    grown.set(V);
    grown.set(R.subarray(0, Math.min(GROWTH, k) * n), V.length);
    V = grown;
  }
  return best;
}
