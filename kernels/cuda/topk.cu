#include "device.cuh"

struct Place { double value; int at; };
inline Place shuffleXor(Place x, int with) { return {__shfl_xor_sync(kAll, x.value, with), __shfl_xor_sync(kAll, x.at, with)}; }

/** Whether a stands before b: the larger, NaN last, the earlier of equals. */
inline bool before(Place a, Place b) {
  if (a.value == b.value || (a.value != a.value && b.value != b.value)) return a.at < b.at;
  return b.value != b.value || a.value > b.value;
}

/** The k first of each row of n: one block a row, one pass for each. */
KERNEL(256, topK, const void* x, int from, void* values, int to, int32_t* indices, Index n, Index k) {
  const Index row = blockIdx.x;
  constexpr int kNone = 0x7fffffff;
  Place last = {INFINITY, -1};
  for (Index i = 0; i < k; i++) {
    Place best = {NAN, kNone};
    for (Index j = threadIdx.x; j < n; j += blockDim.x) {
      const Place here = {loadDouble(x, from, row * n + j), int(j)};
      if ((last.at < 0 || before(last, here)) && before(here, best)) best = here;
    }
    best = last = overBlock(best, Place{NAN, kNone}, [](Place a, Place b) { return before(b, a) ? b : a; });
    if (threadIdx.x == 0) {
      indices[row * k + i] = best.at;
      storeDouble(values, to, row * k + i, best.value);
    }
  }
}
