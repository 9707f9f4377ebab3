// Batch normalisation over rows [n, C]: statistics, application, gradients.
#include "batch-norm.h"

#include <algorithm>
#include <cmath>

#include "core.h"

namespace graft {
namespace {

/** Fixed blocks of all rows, whose results (`width` doubles each) are then joined in order: the same for any number of threads. */
struct Blocks {
  const int64_t rows, width, count = std::min<int64_t>(64, std::max<int64_t>(1, rows / 256));
  int64_t begin(int64_t b) const { return rows * b / count; }
  int64_t size(int64_t b) const { return begin(b + 1) - begin(b); }

  template <class Sum>
  double* each(Scratch& scratch, const Sum& sum) const {
    auto* partial = static_cast<double*>(scratch.bytes(count * width * 8));
    parallelFor(count, 1, [&](int64_t first, int64_t end) {
      Scratch own;
      float* work = own.floats(width);
      for (int64_t b = first; b < end; b++) sum(begin(b), size(b), work, partial + b * width);
    });
    return partial;
  }
};

int64_t grain(int64_t C) { return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, C)); }

float rstd(float variance, double epsilon) { return float(1 / std::sqrt(double(variance) + epsilon)); }

}  // namespace
}  // namespace graft

/** batchNormApply(x, mean | null, variance, gamma | null, beta | null, y, epsilon): null means 0, 1, 0. */
GRAFT_EXPORT(batchNormApply) {
  using namespace graft;
  Scratch scratch;
  const int64_t n = args.count(0), C = args.count(2), rows = C ? n / C : 0;
  const float* x = args.f32(0, scratch, rows * C);
  const float* mean = args.none(1) ? nullptr : args.f32(1, scratch, C);
  const float* variance = args.f32(2, scratch, C);
  const float* gamma = args.none(3) ? nullptr : args.f32(3, scratch, C);
  const float* beta = args.none(4) ? nullptr : args.f32(4, scratch, C);
  float* y = args.outF32(5, n);
  float *scale = scratch.floats(C), *shift = scratch.floats(C);
  for (int64_t c = 0; c < C; c++) {
    scale[c] = rstd(variance[c], args.number(6)) * (gamma ? gamma[c] : 1);
    shift[c] = float((beta ? double(beta[c]) : 0.0) - (mean ? double(mean[c]) * double(scale[c]) : 0.0));
  }
  parallelFor(rows, grain(C), [&](int64_t begin, int64_t end) { affineRows(x + begin * C, scale, shift, end - begin, C, y + begin * C); });
}

/** batchNormStatistics(x, mean, variance): of the rows of x, the variance biased. */
GRAFT_EXPORT(batchNormStatistics) {
  using namespace graft;
  Scratch scratch;
  const int64_t C = args.count(1), rows = C ? args.count(0) / C : 0;
  const float* x = args.f32(0, scratch, rows * C);
  if (C > 0 && rows == 0) fail("batch normalisation: statistics of no rows");
  float *mean = args.outF32(1, C), *variance = args.outF32(2, C);
  const Blocks blocks{rows, 2 * C};
  const double* partial = blocks.each(scratch, [&](int64_t first, int64_t n, float* work, double* out) { columnMoments(x + first * C, n, C, work, out, out + C); });
  for (int64_t c = 0; c < C; c++) {
    double centre = 0, squares = 0;
    for (int64_t b = 0; b < blocks.count; b++)
      joinMoments(double(blocks.begin(b)), centre, squares, double(blocks.size(b)), partial[b * 2 * C + c], partial[b * 2 * C + C + c]);
    mean[c] = float(centre);
    variance[c] = float(squares / double(rows));
  }
}

/** batchNormSums(x, dy, mean, sum, products): Σ dy and Σ dy (x - mean) per channel. */
GRAFT_EXPORT(batchNormSums) {
  using namespace graft;
  Scratch scratch;
  const int64_t C = args.count(2), rows = C ? args.count(0) / C : 0;
  const float *x = args.f32(0, scratch, rows * C), *dy = args.f32(1, scratch, rows * C), *mean = args.f32(2, scratch, C);
  float *sum = args.outF32(3, C), *products = args.outF32(4, C);
  const Blocks blocks{rows, 2 * C};
  const double* partial = blocks.each(scratch, [&](int64_t first, int64_t n, float* work, double* out) {
    columnProducts(x + first * C, dy + first * C, mean, n, C, work, out, out + C);
  });
  for (int64_t c = 0; c < C; c++) {
    double both[2] = {0, 0};
    for (int64_t b = 0; b < blocks.count; b++)
      for (int64_t i = 0; i < 2; i++) both[i] += partial[b * 2 * C + i * C + c];
    sum[c] = float(both[0]);
    products[c] = float(both[1]);
  }
}

/**
 * batchNormTrainGradient(x, dy, mean, variance, gamma, sum, products, dMean, dVariance, dx, epsilon): the gradient to x where mean and
 * variance are its own; dMean and dVariance are what flows into them from elsewhere.
 */
GRAFT_EXPORT(batchNormTrainGradient) {
  using namespace graft;
  Scratch scratch;
  const int64_t C = args.count(2), rows = C ? args.count(0) / C : 0;
  const float *x = args.f32(0, scratch, rows * C), *dy = args.f32(1, scratch, rows * C);
  const float* v[7];
  for (int i = 0; i < 7; i++) v[i] = args.f32(2 + i, scratch, C);
  const auto [mean, variance, gamma, sum, products, dMean, dVariance] = v;
  float* dx = args.outF32(9, rows * C);
  float *a = scratch.floats(C), *b = scratch.floats(C), *c = scratch.floats(C);
  for (int64_t k = 0; k < C; k++) {
    const double r = 1 / std::sqrt(double(variance[k]) + args.number(10)), n = double(rows);
    a[k] = float(double(gamma[k]) * r);
    b[k] = float((2 * double(dVariance[k]) - double(gamma[k]) * r * r * r * double(products[k])) / n);
    c[k] = float((double(dMean[k]) - double(gamma[k]) * r * double(sum[k])) / n);
  }
  parallelFor(rows, grain(C), [&](int64_t begin, int64_t end) {
    gradientRows(dy + begin * C, x + begin * C, mean, a, b, c, end - begin, C, dx + begin * C);
  });
}
