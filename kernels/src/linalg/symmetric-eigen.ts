import { checkMatrix, hypot, identity, reflectRows, Rotations, signOfPeak, tridiagonalise, type Reals } from './dense.js';

/** A = Vᵀ diag(values) V: eigenvalues in falling order; row i of `vectors` [n, n] is the i-th eigenvector, its entry of largest magnitude positive. */
export interface SymmetricEigen { values: Float64Array; vectors: Float64Array; n: number }

/**
 * Eigenvalues and vectors of a symmetric n×n matrix in double precision: tridiagonalisation and implicit QR steps with
 * Wilkinson's shift (Golub & Van Loan, alg. 8.3.3). @throws RangeError on values that are not finite.
 */
export function symmetricEigen(a: Reals, n: number): SymmetricEigen {
  checkMatrix(a, n, n);
  const { d, e, reflectors } = tridiagonalise(Float64Array.from(a), n);
  const Vt = identity(n);
  reflectRows(Vt, 0, n, n, reflectors, { first: 0, last: n - 1, backward: true, triangular: true, shift: 1 });
  diagonalise(d, e, new Rotations(Vt, n));
  const order = Array.from(d.keys()).sort((x, y) => d[y] - d[x] || x - y);
  const vectors = new Float64Array(n * n);
  order.forEach((from, to) => {
    const sign = signOfPeak(Vt, from * n, (from + 1) * n);
    for (let i = 0; i < n; i++) vectors[to * n + i] = sign * Vt[from * n + i];
  });
  return { values: Float64Array.from(order, (i) => d[i]), vectors, n };
}

function diagonalise(d: Float64Array, e: Float64Array, rotations: Rotations): void {
  const negligible = (i: number): boolean => Math.abs(e[i]) <= Number.EPSILON * (Math.abs(d[i]) + Math.abs(d[i + 1])) || Math.abs(e[i]) < 1e-290;
  for (let high = d.length - 1, steps = 0; high > 0;) {
    if (negligible(high - 1)) { high--; steps = 0; continue; }
    if (++steps > MAX_STEPS) throw new Error('the eigenvalue decomposition did not converge');
    let low = high - 1;
    while (low > 0 && !negligible(low - 1)) low--;
    qrStep(d, e, low, high, rotations);
  }
  rotations.flush();
}

const MAX_STEPS = 100;

function qrStep(d: Float64Array, e: Float64Array, low: number, high: number, rotations: Rotations): void {
  const half = (d[high - 1] - d[high]) / 2, t = e[high - 1];
  const root = hypot(half, t);
  let x = d[low] - (d[high] - t / ((half + (half < 0 ? -root : root)) / t)), z = e[low];
  for (let k = low; k < high; k++) {
    const r = hypot(x, z), c = r === 0 ? 1 : x / r, s = r === 0 ? 0 : z / r;
    if (k > low) e[k - 1] = r;
    const a = d[k], b = e[k], g = d[k + 1];
    d[k] = c * c * a + 2 * c * s * b + s * s * g;
    d[k + 1] = s * s * a - 2 * c * s * b + c * c * g;
    e[k] = c * s * (g - a) + (c * c - s * s) * b;
    if (k < high - 1) { x = e[k]; z = s * e[k + 1]; e[k + 1] *= c; }
    rotations.add(k, k + 1, c, s);
  }
}
