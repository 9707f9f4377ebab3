// Reading and adding rows at indices. The indices are known to lie where they should.
#include "device.cuh"

/** y[b, o, i] = x[b, o, indices[b, i]], rows of `inner`; 2-byte floats are widened. A thread an element. */
KERNEL(256, gather, const void* x, int storage, const int32_t* indices, void* y, int bytes, Index outer, Index axis, Index inner, Index count, Index n) {
  const Index i = threadNumber();
  if (i >= n) return;
  const Index row = i / inner, matrix = row / count, from = (matrix * axis + indices[matrix / outer * count + row % count]) * inner + i % inner;
  if (bytes == 1) static_cast<uint8_t*>(y)[i] = static_cast<const uint8_t*>(x)[from];
  else if (storage == kI32) static_cast<int32_t*>(y)[i] = static_cast<const int32_t*>(x)[from];
  else static_cast<float*>(y)[i] = loadFloat(x, storage, from);
}

/** y[k] = x[rows[k]], rows of `inner`. */
KERNEL(256, gatherRows, const void* x, int storage, const Index* rows, void* y, int to, Index inner, Index n) {
  const Index i = threadNumber();
  if (i < n) storeDouble(y, to, i, loadDouble(x, storage, rows[i / inner] * inner + i % inner));
}

/** y[targets[b]] += x[order[k]] for k in [starts[b], starts[b + 1]), in this order: a block a target, rows of `inner`. */
KERNEL(256, addRows, const void* x, int storage, void* y, int to, const Index* targets, const Index* starts, const Index* order, Index inner) {
  const Index target = targets[blockIdx.x], begin = starts[blockIdx.x], end = starts[blockIdx.x + 1];
  for (Index j = threadIdx.x; j < inner; j += blockDim.x) {
    if (to == kF32) {
      float* at = static_cast<float*>(y) + target * inner + j;
      float sum = *at;
      for (Index k = begin; k < end; k++) sum += loadFloat(x, storage, order[k] * inner + j);
      *at = sum;
    } else {
      double sum = loadDouble(y, to, target * inner + j);
      for (Index k = begin; k < end; k++) sum += loadDouble(x, storage, order[k] * inner + j);
      storeDouble(y, to, target * inner + j, sum);
    }
  }
}

/** into[rows[k]] = x[k], rows of `width`. */
KERNEL(256, putRows, const float* x, const Index* rows, float* into, Index width, Index n) {
  const Index i = threadNumber();
  if (i < n) into[rows[i / width] * width + i % width] = x[i];
}

KERNEL(256, oneHot, const int32_t* indices, void* y, int storage, Index depth, double on, double off, Index n) {
  const Index i = threadNumber();
  if (i < n) storeDouble(y, storage, i, indices[i / depth] == i % depth ? on : off);
}
