import { checkMatrix, identity, makeReflector, reflectRows, transpose, type Reals } from './dense.js';

/** A = Q R, row-major: Q [m, k] with orthonormal columns, R [k, n] upper triangular with a diagonal ≥ 0; k = min(m, n). */
export interface Qr { Q: Float64Array; R: Float64Array; m: number; n: number; k: number }

/** Thin QR decomposition of a row-major m×n matrix in double precision (Householder, 1958). @throws RangeError on values that are not finite. */
export function qr(a: Reals, m: number, n: number): Qr {
  checkMatrix(a, m, n);
  const { Qt, R, k } = qrTransposed(transpose(a, m, n), m, n);
  return { Q: transpose(Qt, k, m), R, m, n, k };
}

/** The same from Aᵀ [n, m], which is overwritten; gives Qᵀ [k, m]. */
export function qrTransposed(at: Float64Array, m: number, n: number): { Qt: Float64Array; R: Float64Array; k: number } {
  const k = Math.min(m, n);
  const V = new Float64Array(k * m);
  const R = new Float64Array(k * n);
  for (let first = 0; first < k; first += PANEL) {
    const last = Math.min(k, first + PANEL);
    for (let j = first; j < last; j++) {
      reflectRows(at, j, j + 1, m, V, { first, last: j });
      V.set(at.subarray(j * m + j, (j + 1) * m), j * m + j);
      at[j * m + j] = makeReflector(V, j * m + j, (j + 1) * m);
    }
    reflectRows(at, last, n, m, V, { first, last });
  }
  const Qt = identity(k, m);
  reflectRows(Qt, 0, k, m, V, { first: 0, last: k, backward: true, triangular: true });
  for (let j = 0; j < k; j++) {
    const sign = at[j * m + j] < 0 ? -1 : 1;
    for (let i = j; i < n; i++) R[j * n + i] = sign * at[i * m + j];
    if (sign < 0) for (let i = 0; i < m; i++) Qt[j * m + i] = -Qt[j * m + i];
  }
  return { Qt, R, k };
}

/** Columns whose reflectors are applied to the rest together. */
const PANEL = 32;
