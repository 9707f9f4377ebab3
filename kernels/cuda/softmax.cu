// Rows of softmax and of cross-entropy: one block a row, a row is read two or three times.
#include "device.cuh"

/** The largest of a row, and Σ exp(x - largest). */
inline void partition(const float* x, Index n, float& top, float& sum) {
  top = -INFINITY;
  for (Index i = threadIdx.x; i < n; i += blockDim.x) top = Larger()(top, x[i]);
  top = overBlock(top, -INFINITY, Larger());
  sum = 0;
  for (Index i = threadIdx.x; i < n; i += blockDim.x) sum += expf(x[i] - top);
  sum = overBlock(sum, 0.f, Add());
}

KERNEL(512, softmax, const float* x, float* y, Index n, int logarithm) {
  x += blockIdx.x * n, y += blockIdx.x * n;
  float top, sum;
  partition(x, n, top, sum);
  const float rest = logarithm ? logf(sum) : 1 / sum;
  for (Index i = threadIdx.x; i < n; i += blockDim.x) y[i] = logarithm ? x[i] - top - rest : expf(x[i] - top) * rest;
}

/** dx = y (dy - Σ dy y), or of the logarithm dy - exp(y) Σ dy. */
KERNEL(512, softmaxGrad, const float* dy, const float* y, float* dx, Index n, int logarithm) {
  dy += blockIdx.x * n, y += blockIdx.x * n, dx += blockIdx.x * n;
  float sum = 0;
  for (Index i = threadIdx.x; i < n; i += blockDim.x) sum += logarithm ? dy[i] : dy[i] * y[i];
  sum = overBlock(sum, 0.f, Add());
  for (Index i = threadIdx.x; i < n; i += blockDim.x) dx[i] = logarithm ? dy[i] - expf(y[i]) * sum : y[i] * (dy[i] - sum);
}

/** loss = (1-ε)(log Z - x_label) + ε mean_c(log Z - x_c), 0 where the label is `ignored`; log Z is kept for the gradient. */
KERNEL(512, crossEntropy, const float* x, const int32_t* labels, float* loss, float* logZ, Index n, int ignored, float epsilon) {
  const Index row = blockIdx.x;
  const int label = labels[row];
  x += row * n;
  if (label == ignored) {  // the same for the whole block
    if (threadIdx.x == 0) loss[row] = logZ[row] = 0;
    return;
  }
  float top, sum, mean = 0;
  partition(x, n, top, sum);
  if (epsilon != 0) {
    for (Index i = threadIdx.x; i < n; i += blockDim.x) mean += x[i] - top;
    mean = overBlock(mean, 0.f, Add()) / float(n) + top;
  }
  if (threadIdx.x > 0) return;
  const float z = top + logf(sum), own = z - x[label];
  logZ[row] = z;
  loss[row] = epsilon != 0 ? (1 - epsilon) * own + epsilon * (z - mean) : own;
}

/** dx = dy (softmax(x) - target), the softmax from log Z. */
KERNEL(256, crossEntropyGrad, const float* dy, const float* x, const int32_t* labels, const float* logZ, float* dx, Index n, int ignored, float epsilon, Index count) {
  const Index i = threadNumber();
  if (i >= count) return;
  const Index row = i / n;
  const int label = labels[row];
  const float g = dy[row];
  dx[i] = label == ignored ? 0 : g * (expf(x[i] - logZ[row]) - epsilon / float(n) - (label == i % n ? 1 - epsilon : 0.f));
}
