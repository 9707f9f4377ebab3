#include "reduce.h"

namespace graft {
namespace GRAFT_ISA {

static inline float larger(float a, float b) { return a > b || a != a ? a : b; }
static inline float smaller(float a, float b) { return a < b || a != a ? a : b; }

double sumRun(const float* x, int64_t n) {
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kSumBlock) {
    const int64_t here = n - begin < kSumBlock ? n - begin : kSumBlock;
    const float* from = x + begin;
    float lanes[32] = {};
    int64_t i = 0;
    for (; i + 32 <= here; i += 32)
      for (int k = 0; k < 32; k++) lanes[k] += from[i + k];
    double part = 0;
    for (int k = 0; k < 32; k++) part += lanes[k];
    for (; i < here; i++) part += from[i];
    total += part;
  }
  return total;
}

template <class F>
static inline float fold(const float* x, int64_t n, float identity, F f) {
  float lanes[32];
  for (float& lane : lanes) lane = identity;
  int64_t i = 0;
  for (; i + 32 <= n; i += 32)
    for (int k = 0; k < 32; k++) lanes[k] = f(lanes[k], x[i + k]);
  float out = identity;
  for (float lane : lanes) out = f(out, lane);
  for (; i < n; i++) out = f(out, x[i]);
  return out;
}

float reduceRun(int reduction, const float* x, int64_t n) {
  switch (Reduction(reduction)) {
    case Reduction::Max: return fold(x, n, x[0], larger);
    case Reduction::Min: return fold(x, n, x[0], smaller);
    default: return fold(x, n, 1.f, [](float a, float b) { return a * b; });
  }
}

int64_t bestOfRun(bool largest, const float* x, int64_t n) {
  // A NaN in first place stays the best: nothing compares greater.
  if (x[0] != x[0]) return 0;
  const float best = largest ? fold(x, n, x[0], [](float a, float b) { return b > a ? b : a; }) : fold(x, n, x[0], [](float a, float b) { return b < a ? b : a; });
  int64_t i = 0;
  while (x[i] != best) i++;
  return i;
}

void sumColumns(const float* __restrict x, int64_t stride, int64_t rows, double* __restrict y, int64_t n) {
  for (int64_t j = 0; j < n; j += 64) {
    const int64_t width = n - j < 64 ? n - j : 64;
    double sums[64] = {};
    for (int64_t i = 0; i < rows; i++) {
      const float* from = x + i * stride + j;
      if (width == 64) for (int k = 0; k < 64; k++) sums[k] += double(from[k]);
      else for (int64_t k = 0; k < width; k++) sums[k] += double(from[k]);
    }
    for (int64_t k = 0; k < width; k++) y[j + k] += sums[k];
  }
}

void combine(int reduction, const float* __restrict x, float* __restrict y, int64_t n) {
  if (Reduction(reduction) == Reduction::Max) for (int64_t i = 0; i < n; i++) y[i] = larger(y[i], x[i]);
  else if (Reduction(reduction) == Reduction::Min) for (int64_t i = 0; i < n; i++) y[i] = smaller(y[i], x[i]);
  else for (int64_t i = 0; i < n; i++) y[i] *= x[i];
}

}  // namespace GRAFT_ISA
}  // namespace graft
