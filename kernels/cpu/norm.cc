// Layer and RMS normalisation over the last axis.
#include "norm.h"

#include <algorithm>

#include "core.h"

namespace graft {
namespace {

int64_t grainFor(int64_t n) { return std::max<int64_t>(1, (1 << 13) / std::max<int64_t>(1, n)); }

}  // namespace
}  // namespace graft

using namespace graft;

/** norm(x, γ, β or none, y, mean, rstd, ε, centred): rows as long as γ. */
GRAFT_EXPORT(norm) {
  Scratch scratch;
  const int64_t count = args.count(0), n = args.count(1), rows = n ? count / n : 0;
  const float *x = args.f32(0, scratch), *gamma = args.f32(1, scratch), *beta = args.none(2) ? nullptr : args.f32(2, scratch, n);
  float *y = args.outF32(3, count), *mean = args.outF32(4, rows), *rstd = args.outF32(5, rows);
  const auto epsilon = float(args.number(6));
  const bool centred = args.flag(7);
  parallelFor(rows, grainFor(n), [&](int64_t begin, int64_t end) {
    normRows(x + begin * n, gamma, beta, y + begin * n, mean + begin, rstd + begin, epsilon, centred, end - begin, n);
  });
}

/** normGrad(dy, x, γ, mean, rstd, dx, centred). */
GRAFT_EXPORT(normGrad) {
  Scratch scratch;
  const int64_t count = args.count(0), n = args.count(2), rows = n ? count / n : 0;
  const float *dy = args.f32(0, scratch), *x = args.f32(1, scratch, count), *gamma = args.f32(2, scratch);
  const float *mean = args.f32(3, scratch, rows), *rstd = args.f32(4, scratch, rows);
  float* dx = args.outF32(5, count);
  const bool centred = args.flag(6);
  parallelFor(rows, grainFor(n), [&](int64_t begin, int64_t end) {
    normGradRows(dy + begin * n, x + begin * n, gamma, mean + begin, rstd + begin, dx + begin * n, centred, end - begin, n);
  });
}

/** normGammaGrad(dy, x, mean, rstd, dγ): partial sums of fixed blocks of rows, added up in order. */
GRAFT_EXPORT(normGammaGrad) {
  constexpr int64_t block = 64;
  Scratch scratch;
  const int64_t count = args.count(0), n = args.count(4), rows = n ? count / n : 0, blocks = (rows + block - 1) / block;
  const float *dy = args.f32(0, scratch), *x = args.f32(1, scratch, count), *mean = args.f32(2, scratch, rows), *rstd = args.f32(3, scratch, rows);
  float* dgamma = args.outF32(4, n);
  float* parts = scratch.floats(blocks * n);
  parallelFor(blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      const int64_t first = b * block;
      std::fill_n(parts + b * n, n, 0.f);
      normGammaRows(dy + first * n, x + first * n, mean + first, rstd + first, parts + b * n, std::min(block, rows - first), n);
    }
  });
  for (int64_t i = 0; i < n; i++) {
    double total = 0;
    for (int64_t b = 0; b < blocks; b++) total += double(parts[b * n + i]);
    dgamma[i] = float(total);
  }
}
