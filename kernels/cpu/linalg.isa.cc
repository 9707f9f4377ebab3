#include "linalg.h"

#include "simd.h"

namespace graft {
namespace GRAFT_ISA {

static constexpr int kDoubles = kLanes / 2;
typedef double vd __attribute__((vector_size(kDoubles * 8)));

namespace {

vd loadd(const double* p) {
  vd v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
void stored(double* p, vd v) { __builtin_memcpy(p, &v, sizeof v); }

double sum(vd v) {
  double total = 0;
  for (int i = 0; i < kDoubles; i++) total += v[i];
  return total;
}

double dot(const double* x, const double* y, int64_t n) {
  vd a[4] = {};
  int64_t i = 0;
  for (; i + 4 * kDoubles <= n; i += 4 * kDoubles)
#pragma GCC unroll 4
    for (int u = 0; u < 4; u++) a[u] += loadd(x + i + u * kDoubles) * loadd(y + i + u * kDoubles);
  double rest = 0;
  for (; i < n; i++) rest += x[i] * y[i];
  return sum((a[0] + a[1]) + (a[2] + a[3])) + rest;
}

void axpy(double* y, double alpha, const double* x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] += alpha * x[i];
}

/** Turns v into the vector of I - v vᵀ that sends it to β e₁; returns β. */
double makeReflector(double* v, int64_t n) {
  double peak = 0;
  for (int64_t i = 0; i < n; i++) peak = __builtin_fabs(v[i]) > peak ? __builtin_fabs(v[i]) : peak;
  if (peak == 0) return 0;
  for (int64_t i = 0; i < n; i++) v[i] /= peak;
  const double norm = __builtin_sqrt(dot(v, v, n)), sign = v[0] < 0 ? -1 : 1;
  const double scale = 1 / __builtin_sqrt(norm * (norm + __builtin_fabs(v[0])));
  v[0] += sign * norm;
  for (int64_t i = 0; i < n; i++) v[i] *= scale;
  return -sign * norm * peak;
}

/** w [columns] ← Σ u[i]·a[i] over rows of `columns` values that are n apart. */
void columnSums(const double* a, int64_t n, const double* u, int64_t rows, int64_t columns, double* w) {
  for (int64_t j = 0; j < columns; j++) w[j] = 0;
  int64_t i = 0;
  for (; i + 4 <= rows; i += 4) {  // w is read and written once for four rows
    const double *r0 = a + i * n, *r1 = r0 + n, *r2 = r1 + n, *r3 = r2 + n, *f = u + i;
    for (int64_t j = 0; j < columns; j++) w[j] += (f[0] * r0[j] + f[1] * r1[j]) + (f[2] * r2[j] + f[3] * r3[j]);
  }
  for (; i < rows; i++) axpy(w, u[i], a + i * n, columns);
}

/** R rows a[i] ← (a[i] - u[i] wᵀ)(I - v vᵀ), so that w and v are read for several; the first reading subtracts and sums. */
template <int R>
void reflectSome(double* a, int64_t n, const double* u, const double* w, const double* v, int64_t columns) {
  vd sums[R] = {};
  double rest[R] = {};
  int64_t j = 0;
  for (; j + kDoubles <= columns; j += kDoubles) {
    const vd x = loadd(w + j), y = loadd(v + j);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const vd value = loadd(a + r * n + j) - u[r] * x;
      sums[r] += value * y;
      stored(a + r * n + j, value);
    }
  }
  for (; j < columns; j++)
    for (int r = 0; r < R; r++) rest[r] += (a[r * n + j] -= u[r] * w[j]) * v[j];
  double along[R];
  for (int r = 0; r < R; r++) along[r] = sum(sums[r]) + rest[r];
  for (j = 0; j + kDoubles <= columns; j += kDoubles) {
    const vd y = loadd(v + j);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) stored(a + r * n + j, loadd(a + r * n + j) - along[r] * y);
  }
  for (; j < columns; j++)
    for (int r = 0; r < R; r++) a[r * n + j] -= along[r] * v[j];
}

}  // namespace

void reflectRows(double* M, int64_t r0, int64_t r1, int64_t n, const double* V, int64_t first, int64_t last, bool backward, int64_t shift,
                 bool triangular) {
  for (int64_t top = r0; top < r1; top += 8) {  // a few rows at a time share each reflector while it is in cache
    const int64_t bottom = top + 8 < r1 ? top + 8 : r1;
    for (int64_t s = first; s < last; s++) {
      const int64_t j = backward ? first + last - 1 - s : s, start = j + shift;
      for (int64_t i = triangular && start > top ? start : top; i < bottom; i++) {
        double* row = M + i * n + start;
        axpy(row, -dot(row, V + j * n + start, n - start), V + j * n + start, n - start);
      }
    }
  }
}

void rotateColumns(double* M, int64_t n, const int32_t* p, const int32_t* q, const double* c, const double* s, int64_t count, int64_t j0, int64_t j1) {
  for (int64_t r = 0; r < count; r++) {
    double *x = M + p[r] * n, *y = M + q[r] * n;
    const double cos = c[r], sin = s[r];
    for (int64_t j = j0; j < j1; j++) {
      const double u = x[j], v = y[j];
      x[j] = cos * u + sin * v;
      y[j] = cos * v - sin * u;
    }
  }
}

void bidiagonalise(double* a, int64_t n, double* d, double* e, double* left, double* right, double* w) {
  for (int64_t j = 0; j < n; j++) {
    double *u = left + j * n, *v = right + j * n + j + 1;
    const int64_t next = j + 1, rest = n - next;
    for (int64_t i = j; i < n; i++) u[i] = a[i * n + j];
    d[j] = makeReflector(u + j, n - j);
    if (rest == 0) break;
    columnSums(a + j * n + next, n, u + j, n - j, rest, w);
    axpy(a + j * n + next, -u[j], w, rest);
    for (int64_t i = 0; i < rest; i++) v[i] = a[j * n + next + i];
    e[j] = makeReflector(v, rest);
    int64_t i = next;
    for (; i + 2 <= n; i += 2) reflectSome<2>(a + i * n + next, n, u + i, w, v, rest);
    if (i < n) reflectSome<1>(a + i * n + next, n, u + i, w, v, rest);
  }
}

void tridiagonalise(double* a, int64_t n, double* d, double* e, double* V, double* w) {
  for (int64_t j = 0; j < n; j++) {
    const int64_t next = j + 1, rest = n - next;
    double* v = V + j * n + next;
    d[j] = a[j * n + j];
    if (rest == 0) break;
    for (int64_t i = 0; i < rest; i++) v[i] = a[j * n + next + i];
    e[j] = makeReflector(v, rest);
    for (int64_t i = 0; i < rest; i++) w[i] = dot(a + (next + i) * n + next, v, rest);
    axpy(w, -dot(w, v, rest) / 2, v, rest);
    for (int64_t i = 0; i < rest; i++) {
      double* row = a + (next + i) * n + next;
      const double x = v[i], y = w[i];
      for (int64_t k = 0; k < rest; k++) row[k] -= x * w[k] + y * v[k];
    }
  }
}

#if defined(__AVX512F__)
static constexpr int kVectors = 4, kRows = 6;
#else
static constexpr int kVectors = 2, kRows = 4;
#endif
static constexpr int kPanel = kVectors * kDoubles;

int panelColumns() { return kPanel; }

template <class T, int R>
static void multiplyTile(const T* a, int64_t rs, int64_t cs, const double* panel, int64_t k, int64_t columns, double* c, int64_t ldc) {
  vd acc[R][kVectors] = {};
  for (int64_t p = 0; p < k; p++, a += cs, panel += kPanel) {
    vd row[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) row[v] = loadd(panel + v * kDoubles);
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
      const double x = double(a[r * rs]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) acc[r][v] += x * row[v];
    }
  }
  double tile[kPanel];
#pragma GCC unroll 6
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) stored(tile + v * kDoubles, acc[r][v]);
    for (int64_t j = 0; j < columns; j++) c[r * ldc + j] = tile[j];
  }
}

template <class T>
static void multiplyRows(const T* a, int64_t rs, int64_t cs, const double* panel, int64_t i0, int64_t i1, int64_t k, int64_t columns, double* c,
                         int64_t ldc) {
  int64_t i = i0;
  for (; i + kRows <= i1; i += kRows) multiplyTile<T, kRows>(a + i * rs, rs, cs, panel, k, columns, c + i * ldc, ldc);
  for (; i < i1; i++) multiplyTile<T, 1>(a + i * rs, rs, cs, panel, k, columns, c + i * ldc, ldc);
}

void multiplyPanel(const void* a, bool single, int64_t rs, int64_t cs, const double* panel, int64_t i0, int64_t i1, int64_t k, int64_t columns,
                   double* c, int64_t ldc) {
  if (single) multiplyRows(static_cast<const float*>(a), rs, cs, panel, i0, i1, k, columns, c, ldc);
  else multiplyRows(static_cast<const double*>(a), rs, cs, panel, i0, i1, k, columns, c, ldc);
}

}  // namespace GRAFT_ISA
}  // namespace graft
