#include "device.cuh"

/** y = x as float32. */
KERNEL(256, widen, const void* x, int storage, float* y, Index n) {
  const Index i = threadNumber();
  if (i < n) y[i] = loadFloat(x, storage, i);
}

/** y = x rounded to bf16. */
KERNEL(256, narrow, const void* x, int storage, uint16_t* y, Index n) {
  const Index i = threadNumber();
  if (i < n) y[i] = floatToBf16(loadFloat(x, storage, i));
}

/** y = x in another storage; to bool: whether it is not zero. */
KERNEL(256, cast, const void* x, int from, void* y, int to, Index n) {
  const Index i = threadNumber();
  if (i >= n) return;
  const double value = loadDouble(x, from, i);
  storeDouble(y, to, i, to == kBool ? double(value != 0) : value);
}

KERNEL(256, fill, void* y, int storage, double value, Index n) {
  const Index i = threadNumber();
  if (i < n) storeDouble(y, storage, i, value);
}
