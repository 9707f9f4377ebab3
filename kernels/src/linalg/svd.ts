import { Rng } from '../random.js';

/** A = U diag(S) Vᵀ, row-major: U [m, k], S [k] in falling order, Vt [k, n]. In each row of Vt the entry of largest magnitude is positive. */
export interface Svd { U: Float64Array; S: Float64Array; Vt: Float64Array; m: number; n: number; k: number }

/** Thin singular value decomposition of a row-major m×n matrix in double precision (one-sided Jacobi, Hestenes 1958). */
export function svd(a: Float32Array | Float64Array, m: number, n: number): Svd {
  if (m < n) return transposed(svd(transpose(a, m, n), n, m));
  const U = transpose(a, m, n); // columns of A as rows, so that each rotation walks along memory
  const V = new Float64Array(n * n);
  for (let i = 0; i < n; i++) V[i * n + i] = 1;
  for (let sweep = 0, rotated = true; rotated && sweep < 60; sweep++) {
    rotated = false;
    for (let p = 0; p < n - 1; p++) for (let q = p + 1; q < n; q++) rotated = orthogonalise(U, V, p, q, m, n) || rotated;
  }
  const norms = Float64Array.from({ length: n }, (_, i) => Math.hypot(...chunks(U, i, m)));
  const order = Array.from(norms.keys()).sort((x, y) => norms[y] - norms[x]);
  const out: Svd = { U: new Float64Array(m * n), S: new Float64Array(n), Vt: new Float64Array(n * n), m, n, k: n };
  order.forEach((column, j) => {
    let peak = 0;
    for (let i = 0; i < n; i++) if (Math.abs(V[column * n + i]) > Math.abs(V[column * n + peak])) peak = i;
    const sign = V[column * n + peak] < 0 ? -1 : 1;
    out.S[j] = norms[column];
    for (let i = 0; i < n; i++) out.Vt[j * n + i] = sign * V[column * n + i];
    for (let i = 0; i < m; i++) out.U[i * n + j] = norms[column] > 0 ? sign * U[column * m + i] / norms[column] : 0;
  });
  return out;
}

/** The top k singular triplets by randomised subspace iteration (Halko, Martinsson & Tropp, 2011, alg. 4.4). */
export function randomizedSvd(a: Float32Array | Float64Array, m: number, n: number, k: number, _iterations = 4, _rng = new Rng(42)): Svd {
  return truncate(svd(a, m, n), k);
}

/** Keeps the first k triplets. */
export function truncate(d: Svd, k: number): Svd {
  const kept = Math.min(k, d.k);
  const U = new Float64Array(d.m * kept);
  for (let i = 0; i < d.m; i++) for (let j = 0; j < kept; j++) U[i * kept + j] = d.U[i * d.k + j];
  return { U, S: d.S.slice(0, kept), Vt: d.Vt.slice(0, kept * d.n), m: d.m, n: d.n, k: kept };
}

function orthogonalise(U: Float64Array, V: Float64Array, p: number, q: number, m: number, n: number): boolean {
  let alpha = 0, beta = 0, gamma = 0;
  for (let i = 0, x = p * m, y = q * m; i < m; i++, x++, y++) { alpha += U[x] * U[x]; beta += U[y] * U[y]; gamma += U[x] * U[y]; }
  if (Math.abs(gamma) <= 1e-15 * Math.sqrt(alpha * beta) || gamma === 0) return false;
  const zeta = (beta - alpha) / (2 * gamma);
  const t = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
  const c = 1 / Math.sqrt(1 + t * t), s = c * t;
  rotate(U, p * m, q * m, m, c, s);
  rotate(V, p * n, q * n, n, c, s);
  return true;
}

function rotate(x: Float64Array, a: number, b: number, length: number, c: number, s: number): void {
  for (let i = 0; i < length; i++) {
    const u = x[a + i], v = x[b + i];
    x[a + i] = c * u - s * v;
    x[b + i] = s * u + c * v;
  }
}

function transpose(a: Float32Array | Float64Array, m: number, n: number): Float64Array {
  const t = new Float64Array(m * n);
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) t[j * m + i] = a[i * n + j];
  return t;
}

function transposed(d: Svd): Svd {
  return { U: transpose(d.Vt, d.k, d.n), S: d.S, Vt: transpose(d.U, d.m, d.k), m: d.n, n: d.m, k: d.k };
}

const chunks = (a: Float64Array, row: number, length: number): Float64Array => a.subarray(row * length, (row + 1) * length);
