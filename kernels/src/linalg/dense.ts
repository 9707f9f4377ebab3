/**
 * The inner loops of the decompositions, on row-major matrices in double precision. Everything is arranged so that they
 * walk along rows: reflections and rotations act on rows of transposed factors. Where the addon is there it does the same work.
 */
import { native, type Native } from '../native.js';

export type Reals = Float32Array | Float64Array;

let wanted = true;
const addonOrNone = (): Native | null => (wanted ? native() : null);

/** Whether decompositions run in the addon; `false` keeps them in TypeScript, to compare. */
export function useNativeLoops(use: boolean): void {
  wanted = use;
}

export function transpose(a: Reals, m: number, n: number): Float64Array {
  const t = new Float64Array(m * n);
  for (let i0 = 0; i0 < m; i0 += 32) {
    const i1 = Math.min(m, i0 + 32);
    for (let j = 0; j < n; j++) for (let i = i0; i < i1; i++) t[j * m + i] = a[i * n + j];
  }
  return t;
}

export function identity(n: number, columns = n): Float64Array {
  const out = new Float64Array(n * columns);
  for (let i = 0; i < Math.min(n, columns); i++) out[i * columns + i] = 1;
  return out;
}

/** @throws RangeError unless a holds m·n finite numbers. */
export function checkMatrix(a: Reals, m: number, n: number): void {
  if (m < 1 || n < 1 || a.length !== m * n) throw new RangeError(`expected ${m}x${n} values, got ${a.length}`);
  let nothing = 0;
  for (let i = 0; i < a.length; i++) nothing += a[i] * 0; // NaN times 0 and infinity times 0 are NaN
  if (nothing !== 0) throw new RangeError('the matrix has values that are not finite');
}

/** C = A B, or Aᵀ B where A is stored [k, m]. B: [k, n]; C: [m, n]. */
export function matMul(a: Reals, b: Reals, m: number, k: number, n: number, transposeA = false): Float64Array {
  const c = new Float64Array(m * n);
  const addon = addonOrNone();
  if (addon) {
    addon.doubleMatMul(a, a instanceof Float32Array, b instanceof Float64Array ? b : Float64Array.from(b), c, m, k, n, transposeA);
    return c;
  }
  const [rowStep, columnStep] = transposeA ? [1, m] : [k, 1];
  for (let p = 0; p < k; p++) for (let i = 0; i < m; i++) axpy(c, i * n, a[i * rowStep + p * columnStep], b, p * n, n);
  return c;
}

/**
 * Turns the vector at v[from, to) into that of a reflection H = I - v vᵀ which sends it to β e₁, and returns β.
 * A zero vector stays zero: H = I.
 */
export function makeReflector(v: Float64Array, from: number, to: number): number {
  let peak = 0;
  for (let i = from; i < to; i++) peak = Math.max(peak, Math.abs(v[i]));
  if (peak === 0) return 0;
  let squares = 0;
  for (let i = from; i < to; i++) { v[i] /= peak; squares += v[i] * v[i]; }
  const norm = Math.sqrt(squares);
  const sign = v[from] < 0 ? -1 : 1;
  const scale = 1 / Math.sqrt(norm * (norm + Math.abs(v[from])));
  v[from] += sign * norm;
  for (let i = from; i < to; i++) v[i] *= scale;
  return -sign * norm * peak;
}

export interface ReflectorRange {
  /** Reflectors first … last-1 are applied, in this order or, with `backward`, from the last to the first. */
  first: number;
  last: number;
  backward?: boolean;
  /** Reflector j is zero before column j + shift. */
  shift?: number;
  /** Row i is known to vanish in the columns after i: reflectors that start there are left out. */
  triangular?: boolean;
}

/** Reflects rows r0 … r1-1 of M [·, n]: row ← row - (row·v_j) v_j for the reflectors v_j, rows of V [·, n]. */
export function reflectRows(M: Float64Array, r0: number, r1: number, n: number, V: Float64Array, range: ReflectorRange): void {
  const { first, last, backward = false, shift = 0, triangular = false } = range;
  const addon = addonOrNone();
  if (addon) {
    addon.reflectRows(M, r0, r1, n, V, first, last, backward, shift, triangular);
    return;
  }
  for (let i = r0; i < r1; i++) {
    const end = triangular ? Math.min(last, i - shift + 1) : last;
    for (let s = first; s < end; s++) {
      const j = backward ? first + end - 1 - s : s;
      const start = j + shift;
      axpy(M, i * n + start, -dot(M, i * n + start, V, j * n + start, n - start), V, j * n + start, n - start);
    }
  }
}

export interface Bidiagonal {
  /** Diagonal [n] and superdiagonal [n], whose last entry is zero. */
  d: Float64Array;
  e: Float64Array;
  /** Reflectors as rows [n, n]: left ones start at column j, right ones at j + 1. */
  left: Float64Array;
  right: Float64Array;
}

/** Reduces a square matrix to upper bidiagonal form (Golub & Kahan, 1965); `a` is overwritten. */
export function bidiagonalise(a: Float64Array, n: number): Bidiagonal {
  const d = new Float64Array(n), e = new Float64Array(n), w = new Float64Array(n);
  const left = new Float64Array(n * n), right = new Float64Array(n * n);
  const addon = addonOrNone();
  if (addon) {
    addon.bidiagonalise(a, n, d, e, left, right);
    return { d, e, left, right };
  }
  for (let j = 0; j < n; j++) {
    const row = j * n, next = j + 1, rest = n - next;
    for (let i = j; i < n; i++) left[row + i] = a[i * n + j];
    d[j] = makeReflector(left, row + j, row + n);
    if (rest === 0) break;
    w.fill(0);
    for (let i = j; i < n; i++) axpy(w, next, left[row + i], a, i * n + next, rest);
    axpy(a, row + next, -left[row + j], w, next, rest);
    right.set(a.subarray(row + next, row + n), row + next);
    e[j] = makeReflector(right, row + next, row + n);
    for (let i = next; i < n; i++) {
      axpy(a, i * n + next, -left[row + i], w, next, rest);
      axpy(a, i * n + next, -dot(a, i * n + next, right, row + next, rest), right, row + next, rest);
    }
  }
  return { d, e, left, right };
}

export interface Tridiagonal {
  /** Diagonal [n] and subdiagonal [n], whose last entry is zero. */
  d: Float64Array;
  e: Float64Array;
  /** Reflectors as rows [n, n], starting at column j + 1. */
  reflectors: Float64Array;
}

/** Reduces a symmetric matrix to tridiagonal form by Householder's similarity; `a` is overwritten. */
export function tridiagonalise(a: Float64Array, n: number): Tridiagonal {
  const d = new Float64Array(n), e = new Float64Array(n), w = new Float64Array(n);
  const V = new Float64Array(n * n);
  const addon = addonOrNone();
  if (addon) {
    addon.tridiagonalise(a, n, d, e, V);
    return { d, e, reflectors: V };
  }
  for (let j = 0; j < n; j++) {
    const next = j + 1, rest = n - next, v = j * n + next;
    d[j] = a[j * n + j];
    if (rest === 0) break;
    V.set(a.subarray(j * n + next, next * n), v);
    e[j] = makeReflector(V, v, next * n);
    for (let i = next; i < n; i++) w[i] = dot(a, i * n + next, V, v, rest);
    axpy(w, next, -dot(w, next, V, v, rest) / 2, V, v, rest);
    for (let i = next; i < n; i++) {
      axpy(a, i * n + next, -V[j * n + i], w, next, rest);
      axpy(a, i * n + next, -w[i], V, v, rest);
    }
  }
  return { d, e, reflectors: V };
}

/** Rotates rows of M [·, n] in order: rows p, q ← c p + s q, c q - s p for the first `count` entries of `rotations`. */
export function rotateRows(M: Float64Array, n: number, rotations: RotationList, count: number): void {
  const { p, q, c, s } = rotations;
  const addon = addonOrNone();
  if (addon) {
    addon.rotateRows(M, n, p, q, c, s, count);
    return;
  }
  for (let j0 = 0; j0 < n; j0 += STRIP) { // a strip of columns at a time, so that it stays in cache for all rotations
    const width = Math.min(STRIP, n - j0);
    for (let r = 0; r < count; r++) {
      const cos = c[r], sin = s[r];
      for (let x = p[r] * n + j0, y = q[r] * n + j0, end = x + width; x < end; x++, y++) {
        const u = M[x], v = M[y];
        M[x] = cos * u + sin * v;
        M[y] = cos * v - sin * u;
      }
    }
  }
}

const STRIP = 32;

export interface RotationList { p: Int32Array; q: Int32Array; c: Float64Array; s: Float64Array }

/** Plane rotations of the rows of a matrix [·, n], gathered and applied many at a time. */
export class Rotations {
  private static readonly CAPACITY = 8192;
  private readonly list: RotationList = {
    p: new Int32Array(Rotations.CAPACITY), q: new Int32Array(Rotations.CAPACITY), c: new Float64Array(Rotations.CAPACITY), s: new Float64Array(Rotations.CAPACITY),
  };

  private count = 0;

  constructor(private readonly M: Float64Array, private readonly n: number) {}

  add(p: number, q: number, c: number, s: number): void {
    if (this.count === Rotations.CAPACITY) this.flush();
    const { list, count } = this;
    list.p[count] = p; list.q[count] = q; list.c[count] = c; list.s[count] = s;
    this.count++;
  }

  flush(): void {
    rotateRows(this.M, this.n, this.list, this.count);
    this.count = 0;
  }
}

/** √(x² + y²) without overflow; faster than Math.hypot. */
export function hypot(x: number, y: number): number {
  const a = Math.abs(x), b = Math.abs(y);
  const large = Math.max(a, b), small = Math.min(a, b);
  return large === 0 ? 0 : large * Math.sqrt(1 + (small / large) * (small / large));
}

/** -1 where the entry of largest magnitude among x[from, to) is negative, else 1: the sign rule of every decomposition here. */
export function signOfPeak(x: Float64Array, from: number, to: number): number {
  let peak = from;
  for (let i = from; i < to; i++) if (Math.abs(x[i]) > Math.abs(x[peak])) peak = i;
  return x[peak] < 0 ? -1 : 1;
}

function dot(x: Reals, i: number, y: Reals, j: number, n: number): number {
  let a = 0, b = 0;
  const even = n & ~1;
  for (let t = 0; t < even; t += 2) {
    a += x[i + t] * y[j + t];
    b += x[i + t + 1] * y[j + t + 1];
  }
  return even < n ? a + b + x[i + even] * y[j + even] : a + b;
}

/** y[i …] += alpha x[j …], n entries. */
function axpy(y: Float64Array, i: number, alpha: number, x: Reals, j: number, n: number): void {
  if (alpha === 0) return;
  for (let t = 0; t < n; t++) y[i + t] += alpha * x[j + t];
}
