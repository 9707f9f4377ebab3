#include "elementwise.h"
#include "math.cuh"

/** y = op(x), all float32 but for x's storage. */
KERNEL(256, unaryFloat, int op, const void* x, int storage, float* y, Index n, float p, float q) {
  const Index i = threadNumber();
  if (i < n) y[i] = unaryValue(op, loadFloat(x, storage, i), p, q);
}

/** y = op(x) of any storages, in double precision. */
KERNEL(256, unaryDouble, int op, const void* x, int from, void* y, int to, Index n, double p, double q) {
  const Index i = threadNumber();
  if (i < n) storeDouble(y, to, i, unaryValue(op, loadDouble(x, from, i), p, q));
}

inline void locate(const TwoOperands& o, unsigned i, Index& a, Index& b) {
  a = b = 0;
  for (int k = 0; k + 1 < o.rank; k++) {
    const unsigned next = i / o.size[k], at = i - next * o.size[k];
    a += at * o.stepA[k];
    b += at * o.stepB[k];
    i = next;
  }
  a += i * o.stepA[o.rank - 1];
  b += i * o.stepB[o.rank - 1];
}

/** y = op(a, b): floats in, float32 or bool out. */
KERNEL(256, binaryFloat, int op, const void* a, int storageA, const void* b, int storageB, void* y, int to, TwoOperands o, unsigned n) {
  const Index i = threadNumber();
  if (i >= n) return;
  Index at, with;
  locate(o, unsigned(i), at, with);
  const float value = binaryValue(op, loadFloat(a, storageA, at), loadFloat(b, storageB, with));
  if (to == kF32) static_cast<float*>(y)[i] = value;
  else storeDouble(y, to, i, double(value));
}

/** The same for operands of any storage. Products of integers wrap around. */
KERNEL(256, binaryDouble, int op, const void* a, int storageA, const void* b, int storageB, void* y, int to, TwoOperands o, unsigned n) {
  const Index i = threadNumber();
  if (i >= n) return;
  Index at, with;
  locate(o, unsigned(i), at, with);
  if (storageA == kI32 && storageB == kI32 && to == kI32 && op == int(graft::Binary::Multiply))
    static_cast<uint32_t*>(y)[i] = static_cast<const uint32_t*>(a)[at] * static_cast<const uint32_t*>(b)[with];
  else storeDouble(y, to, i, binaryValue(op, loadDouble(a, storageA, at), loadDouble(b, storageB, with)));
}

/** y += x. */
KERNEL(256, accumulate, const void* x, int storage, float* y, Index n) {
  const Index i = threadNumber();
  if (i < n) y[i] += loadFloat(x, storage, i);
}

/** y = c ? t : e; a condition for every `per` elements of `size` bytes. */
KERNEL(256, select, const uint8_t* c, const void* t, const void* e, void* y, int size, Index per, Index n) {
  const Index i = threadNumber();
  if (i >= n) return;
  const void* from = c[i / per] ? t : e;
  if (size == 4) static_cast<uint32_t*>(y)[i] = static_cast<const uint32_t*>(from)[i];
  else static_cast<uint8_t*>(y)[i] = static_cast<const uint8_t*>(from)[i];
}
