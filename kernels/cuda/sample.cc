#include "sample.h"

#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel sampleKernel("sample", "sample");

/** sample(logits, uniforms Float64Array, tokens Int32Array, scores Float64Array, row size, temperature, top k, top p, min p): a token for each row. */
GRAFT_CUDA(sample) {
  const int64_t n = call.integer(4), rows = n > 0 ? call.count(0) / n : 0;
  int64_t sizes[3];
  void* arrays[3];
  for (int i = 0; i < 3; i++) arrays[i] = call.typedArray(1 + i, sizes[i]);
  if (n < 1 || n > 1 << 19 || call.count(0) != rows * n || sizes[0] != rows * 8 || sizes[1] != rows * 4 || sizes[2] != rows * 8) fail("sample: %lld logits in rows of %lld", static_cast<long long>(call.count(0)), static_cast<long long>(n));
  const Sampling s = {n, call.number(5), call.number(7), call.number(8), int(call.integer(6)), 0};
  if (!(s.temperature > 0) || s.topK < 0) fail("sample: a temperature of %g, the best %d", s.temperature, s.topK);
  const Pointer tokens = call.temporary(rows * 4), scores = call.temporary(rows * 8);
  launch(sampleKernel, {rows}, 256, 0, call.f32(0), call.sent(arrays[0], rows * 8), tokens, scores, s);
  toHostMemory(arrays[1], tokens, rows * 4);
  toHostMemory(arrays[2], scores, rows * 8);
}
