#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel topKKernel("topk", "topK");

/** topK(x, values, indices, row size, k) */
GRAFT_CUDA(topK) {
  const int64_t n = call.integer(3), k = call.integer(4), rows = n > 0 ? call.count(0) / n : 0;
  if (k < 0 || k > n) fail("topK: %lld of %lld values", static_cast<long long>(k), static_cast<long long>(n));
  const Pointer x = call.input(0), values = call.output(1, rows * k), indices = call.outI32(2, rows * k);
  launch(topKKernel, {rows}, n <= 64 ? 32 : 256, 0, x, int(call.storage(0)), values, int(call.storage(1)), indices, Index(n), Index(k));
}
