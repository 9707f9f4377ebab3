#include "dropout.h"

#include "core.h"

/** dropout(x, y, key0, key1, below, keep) */
GRAFT_EXPORT(dropout) {
  graft::Scratch scratch;
  const int64_t n = args.count(0);
  const float* x = args.f32(0, scratch);
  float* y = args.outF32(1, n);
  const uint32_t key0 = uint32_t(args.integer(2)), key1 = uint32_t(args.integer(3)), below = uint32_t(args.integer(4));
  const float keep = float(args.number(5));
  graft::parallelFor(n, 16384, [&](int64_t i, int64_t end) { graft::dropoutLoop(x + i, y + i, end - i, uint32_t(i), key0, key1, below, keep); });
}
