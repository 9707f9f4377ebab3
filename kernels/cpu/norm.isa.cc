#include "norm.h"

#include "lanes.h"

namespace graft {
namespace GRAFT_ISA {

void normRows(const float* x, const float* __restrict gamma, const float* __restrict beta, float* y, float* mean, float* rstd, float epsilon, bool centred, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, x += n, y += n) {
    const float* __restrict from = x;
    float* __restrict to = y;
    const float mu = centred ? float(sumOver(n, [=](int64_t i) { return from[i]; }) / double(n)) : 0.f;
    const double variance = sumOver(n, [=](int64_t i) { return (from[i] - mu) * (from[i] - mu); }) / double(n);
    const float scale = float(1 / __builtin_sqrt(variance + double(epsilon)));
    mean[r] = mu;
    rstd[r] = scale;
    if (beta) for (int64_t i = 0; i < n; i++) to[i] = (from[i] - mu) * scale * gamma[i] + beta[i];
    else for (int64_t i = 0; i < n; i++) to[i] = (from[i] - mu) * scale * gamma[i];
  }
}

void normGradRows(const float* dy, const float* x, const float* __restrict gamma, const float* mean, const float* rstd, float* dx, bool centred, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, dy += n, x += n, dx += n) {
    const float* __restrict g = dy;
    const float* __restrict from = x;
    float* __restrict to = dx;
    const float mu = mean[r], scale = rstd[r];
    const float along = float(sumOver(n, [=](int64_t i) { return g[i] * gamma[i] * ((from[i] - mu) * scale); }) / double(n));
    const float level = centred ? float(sumOver(n, [=](int64_t i) { return g[i] * gamma[i]; }) / double(n)) : 0.f;
    for (int64_t i = 0; i < n; i++) to[i] = scale * (g[i] * gamma[i] - level - (from[i] - mu) * scale * along);
  }
}

void normGammaRows(const float* dy, const float* x, const float* mean, const float* rstd, float* __restrict dgamma, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, dy += n, x += n) {
    const float* __restrict g = dy;
    const float* __restrict from = x;
    const float mu = mean[r], scale = rstd[r];
    for (int64_t i = 0; i < n; i++) dgamma[i] += g[i] * ((from[i] - mu) * scale);
  }
}

}  // namespace GRAFT_ISA
}  // namespace graft
