import { Rng } from '../random.js';
import { bidiagonalise, checkMatrix, matMul, reflectRows, transpose, type Reals } from './dense.js';
import { qrTransposed } from './qr.js';
import { ordered, svd, truncate, type Factors, type Svd } from './svd.js';

/**
 * The first k triplets of svd(a, m, n) at the cost of a bidiagonalisation: the singular values of the bidiagonal B by bisection,
 * right vectors by inverse iteration on the Golub–Kahan form [0 Bᵀ; B 0], then the singular value decomposition of A within the space
 * they span (Rayleigh–Ritz), which gives both sides to full precision. @throws RangeError on values that are not finite
 */
export function topSvd(a: Reals, m: number, n: number, k: number): Svd {
  checkMatrix(a, m, n);
  const found = 4 * k > Math.min(m, n) ? null : m < n ? tall(transpose(a, m, n), n, m, k) : tall(a, m, n, k);
  if (!found) return truncate(svd(a, m, n), k);
  return m < n ? ordered(found.Vt, found.S, found.Ut, m, n) : ordered(found.Ut, found.S, found.Vt, m, n);
}

/** The same for m ≥ n; null where a singular value is so small that its vectors are not told from those of the null space. */
function tall(a: Reals, m: number, n: number, k: number): Factors | null {
  const { d, e, right } = bidiagonalise(m === n ? Float64Array.from(a) : qrTransposed(transpose(a, m, n), m, n).R, n);
  const off = golubKahan(d, e), sigma = largest(off, k);
  if (!(sigma[k - 1] > 1e-10 * sigma[0])) return null;
  const Vt = rightVectors(off, sigma);
  reflectRows(Vt, 0, k, n, right, { first: 0, last: n - 1, backward: true, shift: 1 });
  const { Qt: basis } = qrTransposed(Vt, n, k);
  const { Qt, R } = qrTransposed(transpose(matMul(a, transpose(basis, k, n), m, n, k), m, k), m, k);
  const small = svd(R, k, k);
  return { Ut: matMul(small.U, Qt, k, k, m, true), S: small.S, Vt: matMul(small.Vt, basis, k, k, n) };
}

/** Rounds of inverse iteration: one finds the vector, another cleans it, the third is for those that began badly. */
const ROUNDS = 3;
/** Singular values that are closer than this, relative to the largest, share a space: their vectors are kept apart by hand. */
const CLUSTER = 1e-3;

/** What lies beside the zero diagonal of the tridiagonal over (v₁, u₁, v₂, u₂, …), whose eigenvalues are ± the singular values of the bidiagonal (d, e). */
function golubKahan(d: Float64Array, e: Float64Array): Float64Array {
  return Float64Array.from({ length: 2 * d.length - 1 }, (_, i) => (i % 2 === 0 ? d[i / 2] : e[(i - 1) / 2]));
}

/** The k largest eigenvalues of that tridiagonal, falling, to the last bits: bisection by counts of Sturm's sequence, all k side by side. */
function largest(off: Float64Array, k: number): Float64Array {
  const squares = off.map((x) => x * x), bound = off.reduce((most, x, i) => Math.max(most, Math.abs(x) + Math.abs(off[i + 1] ?? 0)), 0);
  const low = new Float64Array(k), high = new Float64Array(k).fill(bound), q = new Float64Array(k), middle = new Float64Array(k), above = new Int32Array(k);
  const tiny = bound * 1e-300 || 1e-300;
  for (let round = 0; round < 60; round++) {
    for (let j = 0; j < k; j++) q[j] = middle[j] = (low[j] + high[j]) / 2;
    above.fill(0);
    for (let i = 0; i < squares.length; i++) {
      const s = squares[i];
      for (let j = 0; j < k; j++) {
        if (q[j] < 0) above[j]++;
        q[j] = middle[j] - s / (q[j] === 0 ? tiny : q[j]);
      }
    }
    for (let j = 0; j < k; j++) {
      if (q[j] < 0) above[j]++;
      if (above[j] > j) low[j] = middle[j];
      else high[j] = middle[j];
    }
  }
  return high;
}

/** Right singular vectors [k, n] of the bidiagonal whose Golub–Kahan form has `off` beside its diagonal, for the given singular values. */
function rightVectors(off: Float64Array, sigma: Float64Array): Float64Array {
  const n = (off.length + 1) / 2, k = sigma.length, Vt = new Float64Array(k * n), found: Float64Array[] = [];
  const rng = new Rng('topSvd', n, k);
  for (let j = 0; j < k; j++) {
    const near = found.filter((_, i) => sigma[i] - sigma[j] < CLUSTER * sigma[0]);
    let z: Float64Array = Float64Array.from({ length: 2 * n }, () => rng.normal());
    for (let round = 0; round < ROUNDS; round++) {
      z = solveShifted(off, sigma[j], z, sigma[0]);
      for (const other of near) subtract(z, other, along(z, other));
      const length = Math.sqrt(along(z, z));
      for (let i = 0; i < z.length; i++) z[i] /= length;
    }
    found.push(z);
    for (let i = 0; i < n; i++) Vt[j * n + i] = z[2 * i];
  }
  return Vt;
}

/** x with (T - σ I) x = b, scaled to begin with |b| = 1: T tridiagonal with a zero diagonal and `off` beside it; elimination with row exchanges. */
function solveShifted(off: Float64Array, shift: number, b: Float64Array, scale: number): Float64Array {
  const N = b.length, x = b.slice(), u0 = new Float64Array(N), u1 = new Float64Array(N), u2 = new Float64Array(N), tiny = Number.EPSILON * scale;
  let p = -shift, q = off[0];
  for (let i = 0; i < N - 1; i++) {
    const c = off[i], after = off[i + 1] ?? 0;
    if (Math.abs(c) > Math.abs(p)) {
      [u0[i], u1[i], u2[i]] = [c, -shift, after];
      const f = p / c;
      [p, q] = [q + f * shift, -f * after];
      [x[i], x[i + 1]] = [x[i + 1], x[i] - f * x[i + 1]];
    } else {
      [u0[i], u1[i]] = [p === 0 ? tiny : p, q];
      const f = c / u0[i];
      [p, q] = [-shift - f * q, after];
      x[i + 1] -= f * x[i];
    }
  }
  u0[N - 1] = Math.abs(p) < tiny ? tiny : p;
  for (let i = N - 1; i >= 0; i--) x[i] = (x[i] - u1[i] * (x[i + 1] ?? 0) - u2[i] * (x[i + 2] ?? 0)) / u0[i];
  return x;
}

function along(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * y[i];
  return sum;
}

function subtract(x: Float64Array, y: Float64Array, f: number): void {
  for (let i = 0; i < x.length; i++) x[i] -= f * y[i];
}
