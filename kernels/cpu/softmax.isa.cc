#include "softmax.h"

#include "lanes.h"
#include "vmath.h"

namespace graft {
namespace GRAFT_ISA {

void softmaxRows(const float* x, float* y, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, x += n, y += n) {
    const float* __restrict from = x;
    float* __restrict to = y;
    const float top = maxOf(from, n);
    for (int64_t i = 0; i < n; i++) to[i] = vexp(from[i] - top);
    const float scale = float(1 / sumOver(n, [=](int64_t i) { return to[i]; }));
    for (int64_t i = 0; i < n; i++) to[i] *= scale;
  }
}

static inline float logPartition(const float* x, int64_t n) {
  const float top = maxOf(x, n);
  return top + vlog(float(sumOver(n, [=](int64_t i) { return vexp(x[i] - top); })));
}

void logSoftmaxRows(const float* x, float* y, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, x += n, y += n) {
    const float* __restrict from = x;
    float* __restrict to = y;
    const float top = maxOf(from, n);
    const float rest = vlog(float(sumOver(n, [=](int64_t i) { return vexp(from[i] - top); })));
    for (int64_t i = 0; i < n; i++) to[i] = (from[i] - top) - rest;
  }
}

void softmaxGradRows(const float* dy, const float* y, float* dx, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, dy += n, y += n, dx += n) {
    const float* __restrict g = dy;
    const float* __restrict p = y;
    float* __restrict to = dx;
    const float dot = float(sumOver(n, [=](int64_t i) { return g[i] * p[i]; }));
    for (int64_t i = 0; i < n; i++) to[i] = p[i] * (g[i] - dot);
  }
}

void logSoftmaxGradRows(const float* dy, const float* y, float* dx, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, dy += n, y += n, dx += n) {
    const float* __restrict g = dy;
    const float* __restrict l = y;
    float* __restrict to = dx;
    const float sum = float(sumOver(n, [=](int64_t i) { return g[i]; }));
    for (int64_t i = 0; i < n; i++) to[i] = g[i] - vexp(l[i]) * sum;
  }
}

void crossEntropyRows(const float* x, const int32_t* labels, int32_t ignored, float epsilon, float* loss, float* logZ, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, x += n) {
    const float* from = x;
    if (labels[r] == ignored) {
      loss[r] = logZ[r] = 0;
      continue;
    }
    logZ[r] = logPartition(from, n);
    loss[r] = logZ[r] - from[labels[r]];
    if (epsilon != 0) {
      const float mean = float(sumOver(n, [=](int64_t i) { return from[i]; }) / double(n));
      loss[r] = (1 - epsilon) * loss[r] + epsilon * (logZ[r] - mean);
    }
  }
}

void crossEntropyGradRows(const float* dy, const float* x, const int32_t* labels, const float* logZ, int32_t ignored, float epsilon, float* dx, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, x += n, dx += n) {
    const float* __restrict from = x;
    float* __restrict to = dx;
    if (labels[r] == ignored) {
      for (int64_t i = 0; i < n; i++) to[i] = 0;
      continue;
    }
    const float g = dy[r], z = logZ[r], base = epsilon / float(n);
    for (int64_t i = 0; i < n; i++) to[i] = g * (vexp(from[i] - z) - base);
    to[labels[r]] -= g * (1 - epsilon);
  }
}

}  // namespace GRAFT_ISA
}  // namespace graft
