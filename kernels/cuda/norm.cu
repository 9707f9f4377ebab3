// Layer and RMS normalisation: y = γ (x - μ) r + β with r = 1/√(σ² + ε); for RMS μ = 0, σ² = mean x² and no β. One block a row.
#include "columns.cuh"

KERNEL(256, norm, const float* x, const float* gamma, const float* beta, float* y, float* mean, float* rstd, Index n, double epsilon, int centred) {
  const Index row = blockIdx.x;
  x += row * n, y += row * n;
  float mu = 0;
  if (centred) {
    double sum = 0;
    for (Index i = threadIdx.x; i < n; i += blockDim.x) sum += double(x[i]);
    mu = float(overBlock(sum, 0.0, Add()) / double(n));
  }
  double squares = 0;
  for (Index i = threadIdx.x; i < n; i += blockDim.x) squares += double((x[i] - mu) * (x[i] - mu));
  const float scale = float(1 / sqrt(overBlock(squares, 0.0, Add()) / double(n) + epsilon));
  if (threadIdx.x == 0) mean[row] = mu, rstd[row] = scale;
  for (Index i = threadIdx.x; i < n; i += blockDim.x) y[i] = (x[i] - mu) * scale * gamma[i] + (beta ? beta[i] : 0.f);
}

/** With g = γ dy and x̂ = (x - μ) r: dx = r (g - mean g - x̂ mean(g x̂)), without the second term unless centred. */
KERNEL(256, normGrad, const float* dy, const float* x, const float* gamma, const float* mean, const float* rstd, float* dx, Index n, int centred) {
  const Index row = blockIdx.x;
  dy += row * n, x += row * n, dx += row * n;
  const float mu = mean[row], scale = rstd[row];
  double along = 0, level = 0;
  for (Index i = threadIdx.x; i < n; i += blockDim.x) {
    const float g = dy[i] * gamma[i];
    along += double(g * ((x[i] - mu) * scale));
    level += double(g);
  }
  const float a = float(overBlock(along, 0.0, Add()) / double(n)), l = centred ? float(overBlock(level, 0.0, Add()) / double(n)) : 0.f;
  for (Index i = threadIdx.x; i < n; i += blockDim.x) dx[i] = scale * (dy[i] * gamma[i] - l - (x[i] - mu) * scale * a);
}

/** Partial sums of dγ = Σ dy x̂ over chunks of rows. */
KERNEL(256, normGamma, const float* dy, const float* x, const float* mean, const float* rstd, double* partial, Index rows, Index n, Index perChunk) {
  foldColumns(rows, n, perChunk, 0, partial, [=](Index row, Index i) { return double(dy[row * n + i] * ((x[row * n + i] - mean[row]) * rstd[row])); }, Add());
}
