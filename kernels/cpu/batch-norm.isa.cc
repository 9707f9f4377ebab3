#include "batch-norm.h"

#include "simd.h"

namespace graft {
namespace GRAFT_ISA {

static constexpr int64_t kRows = 128;  // summed in single precision, then carried on in double

/** acc[c] += the sum of term(row, c) over rows [0, n), four rows at a time: memory is read in its order. */
template <class Term>
static inline __attribute__((always_inline)) void addRows(int64_t n, int64_t C, float* acc, const Term& term) {
  int64_t r = 0;
  for (; r + 4 <= n; r += 4)
    for (int64_t c = 0; c < C; c++) acc[c] += (term(r, c) + term(r + 1, c)) + (term(r + 2, c) + term(r + 3, c));
  for (; r < n; r++)
    for (int64_t c = 0; c < C; c++) acc[c] += term(r, c);
}

void columnMoments(const float* __restrict x, int64_t rows, int64_t C, float* __restrict work, double* mean, double* squares) {
  float* __restrict middle = work + C;
  for (int64_t c = 0; c < C; c++) mean[c] = squares[c] = 0;
  for (int64_t top = 0; top < rows; top += kRows, x += kRows * C) {
    const int64_t n = rows - top < kRows ? rows - top : kRows;
    for (int64_t c = 0; c < C; c++) work[c] = 0;
    addRows(n, C, work, [=](int64_t r, int64_t c) __attribute__((always_inline)) { return x[r * C + c]; });
    for (int64_t c = 0; c < C; c++) middle[c] = work[c] / float(n), work[c] = 0;
    addRows(n, C, work, [=](int64_t r, int64_t c) __attribute__((always_inline)) { return (x[r * C + c] - middle[c]) * (x[r * C + c] - middle[c]); });
    for (int64_t c = 0; c < C; c++) joinMoments(double(top), mean[c], squares[c], double(n), double(middle[c]), double(work[c]));
  }
}

void columnProducts(const float* __restrict x, const float* __restrict dy, const float* __restrict mean, int64_t rows, int64_t C, float* __restrict work,
                    double* sum, double* products) {
  float* __restrict crossed = work + C;
  for (int64_t c = 0; c < C; c++) sum[c] = products[c] = 0;
  for (int64_t top = 0; top < rows; top += kRows, x += kRows * C, dy += kRows * C) {
    const int64_t n = rows - top < kRows ? rows - top : kRows;
    for (int64_t c = 0; c < C; c++) work[c] = crossed[c] = 0;
    for (int64_t r = 0; r < n; r += 4) {
      const int64_t here = n - r < 4 ? n - r : 4;
      addRows(here, C, work, [=](int64_t i, int64_t c) __attribute__((always_inline)) { return dy[(r + i) * C + c]; });
      addRows(here, C, crossed, [=](int64_t i, int64_t c) __attribute__((always_inline)) { return dy[(r + i) * C + c] * (x[(r + i) * C + c] - mean[c]); });
    }
    for (int64_t c = 0; c < C; c++) sum[c] += double(work[c]), products[c] += double(crossed[c]);
  }
}

void affineRows(const float* x, const float* scale, const float* shift, int64_t rows, int64_t C, float* y) {
  for (int64_t r = 0; r < rows; r++, x += C, y += C)
    for (int64_t c = 0; c < C; c++) y[c] = x[c] * scale[c] + shift[c];
}

void gradientRows(const float* dy, const float* x, const float* mean, const float* a, const float* b, const float* c, int64_t rows, int64_t C,
                  float* dx) {
  for (int64_t r = 0; r < rows; r++, x += C, dy += C, dx += C)
    for (int64_t k = 0; k < C; k++) dx[k] = dy[k] * a[k] + ((x[k] - mean[k]) * b[k] + c[k]);
}

}  // namespace GRAFT_ISA
}  // namespace graft
