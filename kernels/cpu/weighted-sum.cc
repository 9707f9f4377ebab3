// Sums of arrays that are no tensors, or of stored ones: merging reads and writes files piece by piece.
#include "weighted-sum.h"

#include <algorithm>

#include "convert.h"

namespace graft {
namespace {

/** Entries summed at a time. */
constexpr int64_t kBlock = 512;

struct Sum {
  float* out;
  int64_t count, n;
  const double* weights;
  double divisor;

  /** out, weights, divisor from argument 0 on. */
  explicit Sum(const Args& args) {
    out = static_cast<float*>(args.typedArray(0, count));
    weights = static_cast<double*>(args.typedArray(1, n));
    divisor = args.number(2);
    count /= 4, n /= 8;
  }
  void check(size_t arrays) const {
    if (n != int64_t(arrays)) fail("weighted sum: %lld bytes of weights for %zu arrays", static_cast<long long>(n * 8), arrays);
  }
  /** @param source (i, begin, n, memory): entries [begin, begin + n) of array i, perhaps in the memory that is given */
  template <class Source>
  void run(int64_t begin, int64_t end, const Source& source) const {
    double sums[kBlock];
    float memory[kBlock];
    for (int64_t from = begin; from < end; from += kBlock) {
      const int64_t here = std::min(kBlock, end - from);
      std::fill(sums, sums + here, 0.0);
      for (int64_t i = 0; i < n; i++) addWeighted(source(size_t(i), from, here, memory), weights[i], sums, here);
      divideSums(sums, divisor, out + from, here);
    }
  }
};

}  // namespace
}  // namespace graft

/** weightedSum(out, weights, divisor, arrays...): out[j] = Σ weights[i] arrays[i][j] / divisor, added up in double precision in this order. */
GRAFT_EXPORT(weightedSum) {
  using namespace graft;
  const Sum sum(args);
  std::vector<const float*> arrays;
  for (int i = 3; i < args.size(); i++) {
    int64_t bytes = 0;
    arrays.push_back(static_cast<float*>(args.typedArray(i, bytes)));
    if (bytes != sum.count * 4) fail("weighted sum: arrays of %lld and %lld bytes", static_cast<long long>(bytes), static_cast<long long>(sum.count * 4));
  }
  sum.check(arrays.size());
  parallelFor(sum.count, 8 * kBlock, [&](int64_t begin, int64_t end) { sum.run(begin, end, [&](size_t i, int64_t from, int64_t, float*) { return arrays[i] + from; }); });
}

/** weightedSumStored(out, weights, divisor, start, handles...): the same of entries from `start` on of float tensors, mapped ones read where they lie. */
GRAFT_EXPORT(weightedSumStored) {
  using namespace graft;
  const Sum sum(args);
  const int64_t start = args.integer(3);
  std::vector<const Buffer*> stored;
  for (int i = 4; i < args.size(); i++) {
    stored.push_back(&args.input(i));
    if (start < 0 || start > stored.back()->count - sum.count) fail("weighted sum: entries %lld to %lld of %lld", static_cast<long long>(start), static_cast<long long>(start + sum.count), static_cast<long long>(stored.back()->count));
  }
  sum.check(stored.size());
  // In one thread: pages that several touch at once, and give back, cost more than the sum.
  sum.run(0, sum.count, [&](size_t i, int64_t from, int64_t here, float* memory) -> const float* {
    if (stored[i]->storage == Storage::F32) return static_cast<const float*>(stored[i]->data) + start + from;
    toFloat(*stored[i], start + from, here, memory);
    return memory;
  });
  for (const Buffer* b : stored)
    if (start + sum.count == b->count) forgetPages(*b);
}
