// Sums of arrays that are no tensors: merging reads and writes files piece by piece.
#include <algorithm>

#include "core.h"

/** weightedSum(out, weights, divisor, arrays...): out[j] = Σ weights[i] arrays[i][j] / divisor, added up in double precision in this order. */
GRAFT_EXPORT(weightedSum) {
  using namespace graft;
  int64_t bytes = 0, n = 0;
  float* out = static_cast<float*>(args.typedArray(0, bytes));
  const int64_t count = bytes / 4;
  const double* weights = static_cast<double*>(args.typedArray(1, n));
  const double divisor = args.number(2);
  std::vector<const float*> arrays;
  for (int i = 3; i < args.size(); i++) {
    arrays.push_back(static_cast<float*>(args.typedArray(i, n)));
    if (n != bytes) fail("weighted sum: arrays of %lld and %lld bytes", static_cast<long long>(n), static_cast<long long>(bytes));
  }
  args.typedArray(1, n);
  if (n != int64_t(arrays.size()) * 8) fail("weighted sum: %lld bytes of weights for %zu arrays", static_cast<long long>(n), arrays.size());
  parallelFor(count, 4096, [&](int64_t begin, int64_t end) {
    double sums[512];
    for (int64_t from = begin; from < end; from += 512) {
      const int64_t here = std::min<int64_t>(512, end - from);
      std::fill(sums, sums + here, 0.0);
      for (size_t i = 0; i < arrays.size(); i++)
        for (int64_t j = 0; j < here; j++) sums[j] += weights[i] * double(arrays[i][from + j]);
      for (int64_t j = 0; j < here; j++) out[from + j] = float(sums[j] / divisor);
    }
  });
}
