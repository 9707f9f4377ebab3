#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel dropoutKernel("dropout", "dropout");

/** dropout(x, y, key0, key1, below, keep) */
GRAFT_CUDA(dropout) {
  const int64_t n = call.count(0);
  const Pointer x = call.f32(0), y = call.outF32(1, n);
  launch(dropoutKernel, {blocks(n, 256)}, 256, 0, x, y, unsigned(call.integer(2)), unsigned(call.integer(3)), unsigned(call.integer(4)), float(call.number(5)), Index(n));
}
