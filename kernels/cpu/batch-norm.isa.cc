#include "batch-norm.h"

#include "simd.h"

namespace graft {
namespace GRAFT_ISA {

static constexpr int64_t kRows = 128;  // summed in single precision, then carried on in double

/** Adds to out[c] the sum of term(row·C + c, c), a vector; the last channels one by one through `one`. */
template <class Vector, class One>
static inline void sumColumns(int64_t rows, int64_t C, double* out, const Vector& term, const One& one) {
  for (int64_t c = 0; c < C; c++) out[c] = 0;
  for (int64_t top = 0; top < rows; top += kRows) {
    const int64_t end = top + kRows < rows ? top + kRows : rows;
    int64_t c = 0;
    for (; c + kLanes <= C; c += kLanes) {
      vf sum[2] = {};
      int64_t r = top;
      for (; r + 2 <= end; r += 2) {
        sum[0] += term(r * C + c, c);
        sum[1] += term((r + 1) * C + c, c);
      }
      if (r < end) sum[0] += term(r * C + c, c);
      float lanes[kLanes];
      store(lanes, sum[0] + sum[1]);
      for (int i = 0; i < kLanes; i++) out[c + i] += double(lanes[i]);
    }
    for (; c < C; c++) {
      float sum = 0;
      for (int64_t r = top; r < end; r++) sum += one(r * C + c, c);
      out[c] += double(sum);
    }
  }
}

void columnSums(const float* x, const float* shift, int64_t rows, int64_t C, double* sum) {
  if (shift)
    sumColumns(rows, C, sum, [=](int64_t i, int64_t c) { return load(x + i) - load(shift + c); }, [=](int64_t i, int64_t c) { return x[i] - shift[c]; });
  else
    sumColumns(rows, C, sum, [=](int64_t i, int64_t) { return load(x + i); }, [=](int64_t i, int64_t) { return x[i]; });
}

void columnSquares(const float* x, const float* mean, int64_t rows, int64_t C, double* squares) {
  sumColumns(
      rows, C, squares,
      [=](int64_t i, int64_t c) {
        const vf d = load(x + i) - load(mean + c);
        return d * d;
      },
      [=](int64_t i, int64_t c) { return (x[i] - mean[c]) * (x[i] - mean[c]); });
}

void columnProducts(const float* x, const float* dy, const float* mean, int64_t rows, int64_t C, double* sum, double* products) {
  columnSums(dy, nullptr, rows, C, sum);
  sumColumns(
      rows, C, products, [=](int64_t i, int64_t c) { return load(dy + i) * (load(x + i) - load(mean + c)); },
      [=](int64_t i, int64_t c) { return dy[i] * (x[i] - mean[c]); });
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
