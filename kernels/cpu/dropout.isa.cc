#include "dropout.h"
#include "hash.h"

namespace graft {
namespace GRAFT_ISA {

void dropoutLoop(const float* __restrict x, float* __restrict y, int64_t n, uint32_t first, uint32_t key0, uint32_t key1, uint32_t below, float keep) {
  for (int64_t i = 0; i < n; i++) {
    y[i] = x[i] * (hashOf(first + uint32_t(i), key0, key1) < below ? 0.f : keep);
  }
}

}  // namespace GRAFT_ISA
}  // namespace graft
