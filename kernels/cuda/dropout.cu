#include "device.cuh"

#include "../common/hash32.h"

/** Element i is dropped by the hash of i and both keys, as on the CPU. */
KERNEL(256, dropout, const float* x, float* y, unsigned key0, unsigned key1, unsigned below, float keep, Index n) {
  const Index i = threadNumber();
  if (i < n) y[i] = x[i] * (graft::hashOf(uint32_t(i), key0, key1) < below ? 0.f : keep);
}
