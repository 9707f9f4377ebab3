// Softmax, log-softmax and cross-entropy over the last axis.
#include "softmax.h"

#include <algorithm>

#include "core.h"

namespace graft {
namespace {

template <class F>
void forRows(int64_t rows, int64_t n, F f) {
  parallelFor(rows, std::max<int64_t>(1, (1 << 12) / std::max<int64_t>(1, n)), [&](int64_t begin, int64_t end) { f(begin, end - begin, begin * n); });
}

using Map = void (*)(const float*, float*, int64_t, int64_t);
using Gradient = void (*)(const float*, const float*, float*, int64_t, int64_t);

void map(Args& args, Map rowsOf) {
  Scratch scratch;
  const int64_t n = args.integer(2), count = args.count(0);
  const float* x = args.f32(0, scratch);
  float* y = args.outF32(1, count);
  forRows(rowCount(count, n), n, [&](int64_t, int64_t rows, int64_t at) { rowsOf(x + at, y + at, rows, n); });
}

void gradient(Args& args, Gradient rowsOf) {
  Scratch scratch;
  const int64_t n = args.integer(3), count = args.count(0);
  const float *dy = args.f32(0, scratch), *y = args.f32(1, scratch, count);
  float* dx = args.outF32(2, count);
  forRows(rowCount(count, n), n, [&](int64_t, int64_t rows, int64_t at) { rowsOf(dy + at, y + at, dx + at, rows, n); });
}

}  // namespace

int64_t rowCount(int64_t count, int64_t n) {
  if (count && (n < 1 || count % n)) fail("%lld values are no rows of %lld", static_cast<long long>(count), static_cast<long long>(n));
  return count ? count / n : 0;
}

void checkLabels(const int32_t* labels, int64_t count, int64_t classes, int32_t ignored) {
  for (int64_t i = 0; i < count; i++)
    if (labels[i] != ignored && (labels[i] < 0 || labels[i] >= classes)) fail("crossEntropy: label %d of row %lld is not in [0, %lld)", labels[i], static_cast<long long>(i), static_cast<long long>(classes));
}

}  // namespace graft

using namespace graft;

/** softmax(x, y, n), logSoftmax(x, y, n): rows of n elements. */
GRAFT_EXPORT(softmax) { map(args, softmaxRows); }
GRAFT_EXPORT(logSoftmax) { map(args, logSoftmaxRows); }
/** softmaxGrad(dy, y, dx, n), logSoftmaxGrad(dy, y, dx, n): from the outputs. */
GRAFT_EXPORT(softmaxGrad) { gradient(args, softmaxGradRows); }
GRAFT_EXPORT(logSoftmaxGrad) { gradient(args, logSoftmaxGradRows); }

/** crossEntropy(logits, labels, loss, log Z, classes, ignored, ε). */
GRAFT_EXPORT(crossEntropy) {
  Scratch scratch;
  const int64_t count = args.count(1), n = args.integer(4);
  const auto ignored = int32_t(args.integer(5));
  const auto epsilon = float(args.number(6));
  const float* x = args.f32(0, scratch, elements({count, n}));
  const int32_t* labels = args.i32(1);
  float *loss = args.outF32(2, count), *logZ = args.outF32(3, count);
  checkLabels(labels, count, n, ignored);
  forRows(count, n, [&](int64_t first, int64_t rows, int64_t at) { crossEntropyRows(x + at, labels + first, ignored, epsilon, loss + first, logZ + first, rows, n); });
}

/** crossEntropyGrad(dy, logits, labels, log Z, gradient, classes, ignored, ε). */
GRAFT_EXPORT(crossEntropyGrad) {
  Scratch scratch;
  const int64_t count = args.count(2), n = args.integer(5);
  const auto ignored = int32_t(args.integer(6));
  const auto epsilon = float(args.number(7));
  const float *dy = args.f32(0, scratch, count), *x = args.f32(1, scratch, elements({count, n})), *logZ = args.f32(3, scratch, count);
  const int32_t* labels = args.i32(2);
  float* dx = args.outF32(4, count * n);
  checkLabels(labels, count, n, ignored);
  forRows(count, n, [&](int64_t first, int64_t rows, int64_t at) { crossEntropyGradRows(dy + first, x + at, labels + first, logZ + first, ignored, epsilon, dx + at, rows, n); });
}
