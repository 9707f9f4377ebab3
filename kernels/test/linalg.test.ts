import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { qr, randomizedSvd, Rng, svd, symmetricEigen, topSvd } from '../src/index.js';
import { useNativeLoops } from '../src/linalg/dense.js';
import { native } from '../src/native.js';

const gaussian = (m: number, n: number, seed = 1): Float64Array => {
  const rng = new Rng('linalg', seed);
  return Float64Array.from({ length: m * n }, () => rng.normal());
};

/** [m, k] x [k, n] */
function product(a: Float64Array, b: Float64Array, m: number, k: number, n: number): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++) for (let p = 0; p < k; p++) for (let j = 0; j < n; j++) c[i * n + j] += a[i * k + p] * b[p * n + j];
  return c;
}

function transposed(a: Float64Array, m: number, n: number): Float64Array {
  return Float64Array.from({ length: m * n }, (_, t) => a[(t % m) * n + Math.floor(t / m)]);
}

function scaledRows(a: Float64Array, scale: Float64Array): Float64Array {
  const n = a.length / scale.length;
  return a.map((x, i) => x * scale[Math.floor(i / n)]);
}

const distance = (a: Float64Array, b: ArrayLike<number>): number => a.reduce((worst, x, i) => Math.max(worst, Math.abs(x - b[i])), 0);
const eye = (n: number): Float64Array => Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));

function assertOrthonormalRows(a: Float64Array, k: number, n: number, tolerance = 1e-12): void {
  assert.equal(a.length, k * n);
  assert.ok(distance(product(a, transposed(a, k, n), k, n, k), eye(k)) < tolerance, 'rows are not orthonormal');
}

function assertPeaksPositive(rows: Float64Array, n: number): void {
  for (let i = 0; i < rows.length; i += n) {
    const row = rows.subarray(i, i + n);
    assert.ok(row.reduce((peak, x) => (Math.abs(x) > Math.abs(peak) ? x : peak), 0) > 0, `row ${i / n}`);
  }
}

function assertSvd(a: Float64Array, m: number, n: number): Float64Array {
  const k = Math.min(m, n);
  const d = svd(a, m, n);
  const size = Math.max(1e-300, ...d.S);
  assert.deepEqual([d.m, d.n, d.k], [m, n, k]);
  assertOrthonormalRows(transposed(d.U, m, k), k, m);
  assertOrthonormalRows(d.Vt, k, n);
  assertPeaksPositive(d.Vt, n);
  assert.ok(d.S.every((s, i) => s >= 0 && (i === 0 || s <= d.S[i - 1])), 'singular values fall');
  assert.ok(distance(product(d.U, scaledRows(d.Vt, d.S), m, k, n), a) < 1e-13 * size * Math.sqrt(k) * 4, `${m}x${n}: U S Vt is not A`);
  return d.S;
}

for (const where of ['TypeScript', 'the addon'] as const) describe(where, { skip: where === 'the addon' && !native() ? 'not built' : false }, () => {
  before(() => useNativeLoops(where === 'the addon'));

  test('the first triplets alone are those of the whole decomposition', () => {
    for (const [m, n, k] of [[40, 40, 5], [60, 30, 7], [25, 70, 3], [12, 12, 3], [9, 9, 4]]) {
      const a = gaussian(m, n), whole = svd(a, m, n), top = topSvd(a, m, n, k);
      assert.deepEqual([top.m, top.n, top.k, top.U.length, top.S.length, top.Vt.length], [m, n, k, m * k, k, k * n]);
      assert.ok(distance(top.S, whole.S.subarray(0, k)) < 1e-12 * whole.S[0]);
      assert.ok(distance(top.Vt, whole.Vt.subarray(0, k * n)) < 1e-9);
      for (let i = 0; i < m; i++) assert.ok(distance(top.U.subarray(i * k, (i + 1) * k), whole.U.subarray(i * whole.k, i * whole.k + k)) < 1e-9);
    }
  });

  test('the first triplets of matrices whose singular values coincide, or vanish', () => {
    const [m, n, k] = [30, 24, 5], { U, Vt } = svd(gaussian(m, n), m, n);
    for (const S of [Array.from({ length: n }, (_, i) => (i < 4 ? 3 : 1)), Array.from({ length: n }, (_, i) => (i < 8 ? 2 - 1e-9 * i : 0.5)), Array.from({ length: n }, (_, i) => Number(i < 3)), new Array<number>(n).fill(1), new Array<number>(n).fill(0)]) {
      const a = product(U, scaledRows(Vt, Float64Array.from(S)), m, n, n), top = topSvd(a, m, n, k);
      assertOrthonormalRows(transposed(top.U, m, k), k, m);
      assertOrthonormalRows(top.Vt, k, n);
      assert.ok(distance(top.S, S.slice(0, k)) < 1e-12 * (1 + S[0]), String(top.S));
      const image = product(a, transposed(top.Vt, k, n), m, n, k), expected = Float64Array.from(top.U, (u, i) => u * top.S[i % k]);
      assert.ok(distance(image, expected) < 1e-9, 'A V = U S');
    }
  });

  test('svd multiplies back, for tall, wide, square and tiny matrices', () => {
    for (const [m, n] of [[1, 1], [1, 5], [6, 1], [2, 2], [7, 4], [4, 7], [33, 33], [50, 20], [20, 81], [70, 65]]) assertSvd(gaussian(m, n), m, n);
  });

  test('svd finds the singular values a matrix was made with, down to zero', () => {
    const S = Float64Array.from([100, 3, 3, 1, 1e-3, 1e-9, 0, 0]);
    const k = S.length, m = 13, n = 11;
    const Q = (rows: number, seed: number): Float64Array => qr(gaussian(rows, k, seed), rows, k).Q;
    const a = product(Q(m, 2), scaledRows(transposed(Q(n, 3), n, k), S), m, k, n);
    assert.ok(distance(assertSvd(a, m, n).subarray(0, k), S) < 1e-13 * 100);
  });

  test('svd of matrices with structure: zero, identity, rank one, graded, bidiagonal with zeros on the diagonal', () => {
    assertSvd(new Float64Array(20), 5, 4);
    assertSvd(eye(6), 6, 6);
    assertSvd(Float64Array.from({ length: 63 }, (_, i) => (1 + Math.floor(i / 7)) * (i % 7)), 9, 7);
    assertSvd(Float64Array.from({ length: 64 }, (_, i) => 10 ** -((i % 8) + Math.floor(i / 8)) * (1 + (i * 7) % 5)), 8, 8);
    assertSvd(Float64Array.from({ length: 36 }, (_, i) => (i % 7 === 0 ? [1, 2, 0, 3, 4, 0][i / 7] : i % 7 === 1 ? 1 : 0)), 6, 6);
    assertSvd(gaussian(9, 9).map((x) => x * 1e-200), 9, 9);
    assertSvd(gaussian(9, 9).map((x) => x * 1e200), 9, 9);
  });

  test('decompositions refuse values that are not finite and wrong sizes', () => {
    assert.throws(() => svd(Float64Array.from([1, NaN, 3, 4]), 2, 2), RangeError);
    assert.throws(() => qr(new Float64Array(5), 2, 2), RangeError);
    assert.throws(() => symmetricEigen(Float64Array.from([1, 0, 0, Infinity]), 2), RangeError);
  });

  test('randomizedSvd agrees with svd on the leading triplets and depends on the seed alone', () => {
    const m = 120, n = 90, k = 5;
    const decay = Float64Array.from({ length: n }, (_, i) => 0.8 ** i);
    const full = svd(gaussian(m, n), m, n);
    const a = product(full.U, scaledRows(full.Vt, decay), m, n, n);
    for (const [x, rows, columns] of [[a, m, n], [transposed(a, m, n), n, m]] as const) {
      const exact = svd(x, rows, columns), top = randomizedSvd(x, rows, columns, k);
      assert.equal(top.k, k);
      assert.ok(distance(top.S, exact.S) < 1e-10);
      assert.ok(distance(top.Vt, exact.Vt) < 1e-6);
      assertOrthonormalRows(transposed(top.U, rows, k), k, rows);
      assert.deepEqual(randomizedSvd(x, rows, columns, k), top);
    }
  });

  test('randomizedSvd of a matrix barely larger than k is exact', () => {
    const a = gaussian(12, 9);
    assert.deepEqual(randomizedSvd(a, 12, 9, 3).S, svd(a, 12, 9).S.slice(0, 3));
  });

  test('qr multiplies back with an upper triangle and a diagonal that is not negative', () => {
    for (const [m, n] of [[1, 1], [5, 3], [3, 5], [40, 40], [77, 35]]) {
      const a = gaussian(m, n), { Q, R, k } = qr(a, m, n);
      assertOrthonormalRows(transposed(Q, m, k), k, m);
      assert.ok(distance(product(Q, R, m, k, n), a) < 1e-12);
      for (let i = 0; i < k; i++) {
        assert.ok(R[i * n + i] >= 0);
        for (let j = 0; j < i; j++) assert.equal(R[i * n + j], 0);
      }
    }
  });

  test('symmetricEigen diagonalises; negative, repeated and zero eigenvalues included', () => {
    for (const values of [[2], [3, -1], [5, 5, 1, 0, 0, -2, -2, -7], Array.from({ length: 41 }, (_, i) => 20 - i)]) {
      const n = values.length;
      const { Q } = qr(gaussian(n, n, 4), n, n);
      const Qt = transposed(Q, n, n);
      const a = product(Q, scaledRows(Qt, Float64Array.from(values)), n, n, n);
      const eigen = symmetricEigen(a, n);
      assert.ok(distance(eigen.values, values) < 1e-12);
      assertOrthonormalRows(eigen.vectors, n, n);
      assertPeaksPositive(eigen.vectors, n);
      assert.ok(distance(product(transposed(eigen.vectors, n, n), scaledRows(eigen.vectors, eigen.values), n, n, n), a) < 1e-12);
    }
  });
});

test('the addon and TypeScript agree', { skip: native() ? false : 'not built' }, () => {
  const m = 150, n = 131, a = gaussian(m, n);
  const both = [false, true].map((use) => {
    useNativeLoops(use);
    return { ...svd(a, m, n), top: randomizedSvd(Float32Array.from(a), m, n, 4), eigen: symmetricEigen(product(a, transposed(a, m, n), m, n, m), m) };
  });
  const [x, y] = both;
  for (const key of ['U', 'S', 'Vt'] as const) {
    assert.ok(distance(x[key], y[key]) < 1e-10, key);
    assert.ok(distance(x.top[key], y.top[key]) < 1e-8, `top ${key}`);
  }
  assert.ok(distance(x.eigen.values, y.eigen.values) < 1e-10);
});
