import { Rng } from '../random.js';
import { bidiagonalise, checkMatrix, hypot, identity, matMul, reflectRows, Rotations, signOfPeak, transpose, type Reals } from './dense.js';
import { qrTransposed } from './qr.js';

/** A = U diag(S) Vᵀ, row-major: U [m, k], S [k] in falling order, Vt [k, n]. In each row of Vt the entry of largest magnitude is positive. */
export interface Svd { U: Float64Array; S: Float64Array; Vt: Float64Array; m: number; n: number; k: number }

/**
 * Thin singular value decomposition of a row-major m×n matrix in double precision: QR first (Chan, 1982), then
 * bidiagonalisation and implicit QR steps (Golub & Reinsch, 1970). @throws RangeError on values that are not finite.
 */
export function svd(a: Reals, m: number, n: number): Svd {
  checkMatrix(a, m, n);
  if (m < n) {
    const { Ut, S, Vt } = tall(Float64Array.from(a), n, m);
    return ordered(Vt, S, Ut, m, n);
  }
  const { Ut, S, Vt } = tall(transpose(a, m, n), m, n);
  return ordered(Ut, S, Vt, m, n);
}

/** The top k singular triplets by randomised subspace iteration with `iterations` rounds (Halko, Martinsson & Tropp, 2011, alg. 4.4 and 5.1). */
export function randomizedSvd(a: Reals, m: number, n: number, k: number, iterations = 4, rng = new Rng(42)): Svd {
  const p = k + OVERSAMPLING;
  if (p >= Math.min(m, n)) return truncate(svd(a, m, n), k);
  checkMatrix(a, m, n);
  const orthonormal = (y: Float64Array, rows: number): Float64Array => transpose(qrTransposed(transpose(y, rows, p), rows, p).Qt, p, rows);
  const omega = Float64Array.from({ length: n * p }, () => rng.normal());
  let Q = orthonormal(matMul(a, omega, m, n, p), m);
  for (let i = 0; i < iterations; i++) {
    const Z = orthonormal(matMul(a, Q, n, m, p, true), n);
    Q = orthonormal(matMul(a, Z, m, n, p), m);
  }
  const small = svd(matMul(a, Q, n, m, p, true), n, p); // of (QᵀA)ᵀ
  const U = matMul(Q, transpose(small.Vt, p, p), m, p, p);
  return truncate(ordered(transpose(U, m, p), small.S, transpose(small.U, n, p), m, n), k);
}

const OVERSAMPLING = 10;

/** Keeps the first k triplets. */
export function truncate(d: Svd, k: number): Svd {
  const kept = Math.min(k, d.k);
  const U = new Float64Array(d.m * kept);
  for (let i = 0; i < d.m; i++) for (let j = 0; j < kept; j++) U[i * kept + j] = d.U[i * d.k + j];
  return { U, S: d.S.slice(0, kept), Vt: d.Vt.slice(0, kept * d.n), m: d.m, n: d.n, k: kept };
}

/** Of an m×n matrix: Ut [k, m], S [k], Vt [k, n]. */
export interface Factors { Ut: Float64Array; S: Float64Array; Vt: Float64Array }

/** Unordered factors of an m×n matrix, m ≥ n, from its transpose [n, m], which is overwritten: Ut [n, m], Vt [n, n]. */
function tall(at: Float64Array, m: number, n: number): Factors {
  if (m === n) return square(transpose(at, n, n), n);
  const { Qt, R } = qrTransposed(at, m, n);
  const { Ut, S, Vt } = square(R, n);
  return { Ut: matMul(Ut, Qt, n, n, m), S, Vt };
}

function square(a: Float64Array, n: number): Factors {
  const { d, e, left, right } = bidiagonalise(a, n);
  const Ut = identity(n), Vt = identity(n);
  reflectRows(Ut, 0, n, n, left, { first: 0, last: n, backward: true, triangular: true });
  reflectRows(Vt, 0, n, n, right, { first: 0, last: n - 1, backward: true, triangular: true, shift: 1 });
  diagonalise(d, e, new Rotations(Ut, n), new Rotations(Vt, n));
  return { Ut, S: d, Vt };
}

/** Diagonalises the upper bidiagonal matrix (d, e) in place; singular values may come out negative and in any order. */
function diagonalise(d: Float64Array, e: Float64Array, left: Rotations, right: Rotations): void {
  for (let high = d.length - 1, steps = 0; high > 0;) {
    let low = high;
    while (low > 0 && !negligible(e[low - 1], Math.abs(d[low - 1]) + Math.abs(d[low]))) low--;
    if (low > 0) e[low - 1] = 0;
    if (low === high) { high--; steps = 0; continue; }
    if (++steps > MAX_STEPS) throw new Error('the singular value decomposition did not converge');
    let zero = high;
    while (zero >= low && !negligible(d[zero], (zero < high ? Math.abs(e[zero]) : 0) + (zero > low ? Math.abs(e[zero - 1]) : 0))) zero--;
    if (zero < low) qrStep(d, e, low, high, left, right);
    else if (zero === high) chaseUp(d, e, low, high, right);
    else chaseRight(d, e, zero, high, left);
  }
  left.flush();
  right.flush();
}

const MAX_STEPS = 100;
const negligible = (x: number, scale: number): boolean => Math.abs(x) <= Number.EPSILON * scale || Math.abs(x) < 1e-290;

/** d[high] is zero: rotations of columns move e[high-1] out of the matrix upwards. */
function chaseUp(d: Float64Array, e: Float64Array, low: number, high: number, right: Rotations): void {
  d[high] = 0;
  let f = e[high - 1];
  e[high - 1] = 0;
  for (let j = high - 1; j >= low && f !== 0; j--) {
    const r = hypot(d[j], f), c = d[j] / r, s = f / r;
    d[j] = r;
    if (j > low) { f = -s * e[j - 1]; e[j - 1] *= c; }
    right.add(j, high, c, s);
  }
}

/** d[zero] is zero: rotations of rows move e[zero] out of the matrix to the right. */
function chaseRight(d: Float64Array, e: Float64Array, zero: number, high: number, left: Rotations): void {
  d[zero] = 0;
  let f = e[zero];
  e[zero] = 0;
  for (let j = zero + 1; j <= high && f !== 0; j++) {
    const r = hypot(d[j], f), c = d[j] / r, s = f / r;
    d[j] = r;
    if (j < high) { f = -s * e[j]; e[j] *= c; }
    left.add(j, zero, c, s);
  }
}

/** One implicit QR step on rows low … high with the shift from the trailing 2×2 block of BᵀB. */
function qrStep(d: Float64Array, e: Float64Array, low: number, high: number, left: Rotations, right: Rotations): void {
  const scale = Math.max(Math.abs(d[high]), Math.abs(d[high - 1]), Math.abs(e[high - 1]), Math.abs(d[low]), Math.abs(e[low]));
  const dh = d[high] / scale, dh1 = d[high - 1] / scale, eh = e[high - 1] / scale, dl = d[low] / scale, el = e[low] / scale;
  const b = ((dh1 + dh) * (dh1 - dh) + eh * eh) / 2, c2 = (dh * eh) * (dh * eh);
  const root = Math.sqrt(b * b + c2);
  const shift = b === 0 && c2 === 0 ? 0 : c2 / (b + (b < 0 ? -root : root));
  let f = (dl + dh) * (dl - dh) + shift, g = dl * el;
  for (let j = low; j < high; j++) {
    let r = hypot(f, g), c = r === 0 ? 1 : f / r, s = r === 0 ? 0 : g / r;
    if (j > low) e[j - 1] = r;
    f = c * d[j] + s * e[j];
    e[j] = c * e[j] - s * d[j];
    g = s * d[j + 1];
    d[j + 1] *= c;
    right.add(j, j + 1, c, s);
    r = hypot(f, g); c = r === 0 ? 1 : f / r; s = r === 0 ? 0 : g / r;
    d[j] = r;
    f = c * e[j] + s * d[j + 1];
    d[j + 1] = c * d[j + 1] - s * e[j];
    if (j < high - 1) { g = s * e[j + 1]; e[j + 1] *= c; }
    left.add(j, j + 1, c, s);
  }
  e[high - 1] = f;
}

/** Falling order, singular values ≥ 0, and the sign rule; U comes back untransposed. */
export function ordered(Ut: Float64Array, S: Float64Array, Vt: Float64Array, m: number, n: number): Svd {
  const k = S.length;
  const order = Array.from(S.keys()).sort((x, y) => Math.abs(S[y]) - Math.abs(S[x]) || x - y);
  const rows = new Float64Array(k * m), out = new Float64Array(k * n), values = new Float64Array(k);
  order.forEach((from, to) => {
    const sign = signOfPeak(Vt, from * n, (from + 1) * n);
    const signU = S[from] < 0 ? -sign : sign;
    values[to] = Math.abs(S[from]);
    for (let i = 0; i < n; i++) out[to * n + i] = sign * Vt[from * n + i];
    for (let i = 0; i < m; i++) rows[to * m + i] = signU * Ut[from * m + i];
  });
  return { U: transpose(rows, k, m), S: values, Vt: out, m, n, k };
}
