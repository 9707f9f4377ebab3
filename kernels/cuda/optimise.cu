#include "device.cuh"
#include "optimise.h"

/** Of the tensors that one launch goes through, the one that this block belongs to. */
template <class T>
inline const T& ownTensor(const T* tensors, int count) {
  int low = 0;
  for (int high = count; high - low > 1;) {
    const int middle = (low + high) / 2;
    if (tensors[middle].firstBlock <= Index(blockIdx.x)) low = middle;
    else high = middle;
  }
  return tensors[low];
}

/** All tensors of a step in one launch. */
KERNEL(256, adamw, const AdamWTensor* tensors, int count) {
  const AdamWTensor& t = ownTensor(tensors, count);
  const AdamWStep o = t.step;
  float *param = reinterpret_cast<float*>(t.param), *m = reinterpret_cast<float*>(t.m), *v = reinterpret_cast<float*>(t.v);
  const float* grad = reinterpret_cast<const float*>(t.grad);
  const Index begin = (blockIdx.x - t.firstBlock) * kPerBlock, end = begin + kPerBlock < t.n ? begin + kPerBlock : t.n;
  for (Index i = begin + threadIdx.x; i < end; i += 256) {
    const float g = grad[i] * o.gradScale, mean = m[i] * o.beta1 + g * (1 - o.beta1), square = v[i] * o.beta2 + g * g * o.oneLessBeta2;
    m[i] = mean;
    v[i] = square;
    param[i] = param[i] * o.decay - mean / (sqrtf(square) * o.rootScale + o.epsilon) * o.stepSize;
  }
}

KERNEL(256, sgd, float* param, const float* grad, float* momentum, SgdStep o, Index n) {
  const Index i = threadNumber();
  if (i >= n) return;
  float g = grad[i] * o.gradScale + param[i] * o.weightDecay;
  if (momentum) {
    const float moved = o.first ? g : momentum[i] * o.momentum + g;
    momentum[i] = moved;
    g = o.nesterov ? g + moved * o.momentum : moved;
  }
  param[i] -= g * o.lr;
}

struct Sum {
  double operator()(double a, double b) const { return a + b; }
};

/** parts [blocks] = Σ x² of each block's elements. */
KERNEL(256, squares, const Squared* tensors, int count, double* parts) {
  const Squared& t = ownTensor(tensors, count);
  const float* x = reinterpret_cast<const float*>(t.x);
  const Index begin = (blockIdx.x - t.firstBlock) * kPerBlock, end = begin + kPerBlock < t.n ? begin + kPerBlock : t.n;
  double sum = 0;
  for (Index i = begin + threadIdx.x; i < end; i += 256) sum += double(x[i]) * x[i];
  sum = overBlock(sum, 0.0, Sum());
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

/** y = Σ parts, by one block. */
KERNEL(1024, total, const double* parts, Index n, float* y) {
  double sum = 0;
  for (Index i = threadIdx.x; i < n; i += 1024) sum += parts[i];
  sum = overBlock(sum, 0.0, Sum());
  if (threadIdx.x == 0) y[0] = float(sum);
}
