#include "columns.cuh"
#include "reduce.h"

struct Fold {
  int op;
  double operator()(double a, double b) const {
    switch (op) {
      case kSum: return a + b;
      case kProd: return a * b;
      case kMax: return Larger()(a, b);
      case kMin: return Smaller()(a, b);
      case kEvery: return a != 0 && b != 0;
      default: return a != 0 || b != 0;
    }
  }
};

/** x [outer, axis] → partial [outer, chunks]: one block a row and chunk. */
KERNEL(256, foldRows, int op, const void* x, int storage, Index axis, Index perChunk, double identity, double* partial) {
  const Index begin = blockIdx.y * perChunk, end = begin + perChunk < axis ? begin + perChunk : axis;
  double total = identity;
  for (Index i = begin + threadIdx.x; i < end; i += blockDim.x) total = Fold{op}(total, loadDouble(x, storage, blockIdx.x * axis + i));
  total = overBlock(total, identity, Fold{op});
  if (threadIdx.x == 0) partial[Index(blockIdx.x) * gridDim.y + blockIdx.y] = total;
}

/** x [outer, axis, inner] → partial [outer, chunks, inner]; blockIdx.z counts the outer ones from `first`. */
KERNEL(256, foldInner, int op, const void* x, int storage, Index axis, Index inner, Index perChunk, double identity, double* partial, Index first) {
  const Index outer = first + blockIdx.z;
  foldColumns(axis, inner, perChunk, identity, partial + outer * gridDim.y * inner,
              [=](Index row, Index column) { return loadDouble(x, storage, (outer * axis + row) * inner + column); }, Fold{op});
}

/** partial [outer, chunks, inner] → y [outer, inner], times `scale`. */
KERNEL(256, finish, int op, const double* partial, void* y, int storage, Index chunks, Index inner, double scale, Index n) {
  const Index i = threadNumber();
  if (i >= n) return;
  const double* from = partial + i / inner * chunks * inner + i % inner;
  double total = from[0];
  for (Index k = 1; k < chunks; k++) total = Fold{op}(total, from[k * inner]);
  storeDouble(y, storage, i, total * scale);
}

struct Best { float value; int at; };
inline Best shuffleXor(Best x, int with) { return {__shfl_xor_sync(kAll, x.value, with), __shfl_xor_sync(kAll, x.at, with)}; }

/** y [outer, inner] = where the first largest (smallest) of the axis is; NaN is never better, but stays where it comes first. */
KERNEL(256, argBest, int largest, const float* x, int32_t* y, Index axis, Index inner) {
  const float* from = x + blockIdx.x / inner * axis * inner + blockIdx.x % inner;
  constexpr int kNone = 0x7fffffff;
  Best mine = {0, kNone};
  const auto better = [=](Best a, Best b) {
    const bool second = a.at == kNone || (b.at != kNone && (largest ? b.value > a.value : b.value < a.value)) || (b.at < a.at && b.value == a.value);
    return second ? b : a;
  };
  for (Index i = threadIdx.x; i < axis; i += blockDim.x) {
    const float value = from[i * inner];
    if (value == value) mine = better(mine, Best{value, int(i)});
  }
  mine = overBlock(mine, Best{0, kNone}, better);
  if (threadIdx.x == 0) y[blockIdx.x] = mine.at == kNone || from[0] != from[0] ? 0 : mine.at;
}

/** Running sums or products along an axis: one thread a line. */
KERNEL(256, cumulate, int product, const void* x, void* y, int storageX, int storageY, Index axis, Index inner, int exclusive, int reverse, Index lines) {
  const Index line = threadNumber();
  if (line >= lines) return;
  double total = product;
  for (Index a = 0; a < axis; a++) {
    const Index at = (line / inner * axis + (reverse ? axis - 1 - a : a)) * inner + line % inner;
    const double value = loadDouble(x, storageX, at), next = product ? total * value : total + value;
    storeDouble(y, storageY, at, exclusive ? total : next);
    total = next;
  }
}
