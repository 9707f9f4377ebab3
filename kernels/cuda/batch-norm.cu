// Batch normalisation over rows [n, C]: what is per channel is formed again by every thread that needs it, from the channel's numbers.
#include "columns.cuh"

/** y = (x - mean) γ/√(σ² + ε) + β; null means 0, 1, 0. */
KERNEL(256, batchNormApply, const float* x, const float* mean, const float* variance, const float* gamma, const float* beta, float* y, double epsilon, Index C, Index n) {
  const Index i = threadNumber();
  if (i >= n) return;
  const Index c = i % C;
  const float scale = float(1 / sqrt(double(variance[c]) + epsilon)) * (gamma ? gamma[c] : 1.f);
  const float shift = float((beta ? double(beta[c]) : 0.0) - (mean ? double(mean[c]) * double(scale) : 0.0));
  y[i] = x[i] * scale + shift;
}

/** Partial sums of x - shift, or of its squares. The shift is per channel; null is 0. */
KERNEL(256, columnSums, const float* x, const float* shift, double* partial, int squares, Index rows, Index C, Index perChunk) {
  foldColumns(rows, C, perChunk, 0, partial, [=](Index row, Index c) {
    const float d = x[row * C + c] - (shift ? shift[c] : 0.f);
    return double(squares ? d * d : d);
  }, Add());
}

/** Partial sums of dy (x - mean). */
KERNEL(256, columnProducts, const float* x, const float* dy, const float* mean, double* partial, Index rows, Index C, Index perChunk) {
  foldColumns(rows, C, perChunk, 0, partial, [=](Index row, Index c) { return double(dy[row * C + c] * (x[row * C + c] - mean[c])); }, Add());
}

/** y = base + Σ_chunks partial · scale. */
KERNEL(256, columnMeans, const double* partial, const float* base, float* y, Index chunks, double scale, Index C) {
  const Index c = threadNumber();
  if (c >= C) return;
  double sum = 0;
  for (Index k = 0; k < chunks; k++) sum += partial[k * C + c];
  y[c] = float((base ? double(base[c]) : 0.0) + sum * scale);
}

/** The gradient to x where mean and variance are its own; dMean and dVariance are what flows into them from elsewhere. */
KERNEL(256, batchNormTrainGradient, const float* x, const float* dy, const float* mean, const float* variance, const float* gamma, const float* sum,
       const float* products, const float* dMean, const float* dVariance, float* dx, double epsilon, Index rows, Index C) {
  const Index i = threadNumber();
  if (i >= rows * C) return;
  const Index k = i % C;
  const double r = 1 / sqrt(double(variance[k]) + epsilon), n = double(rows);
  const float a = float(double(gamma[k]) * r), b = float((2 * double(dVariance[k]) - double(gamma[k]) * r * r * r * double(products[k])) / n);
  const float c = float((double(dMean[k]) - double(gamma[k]) * r * double(sum[k])) / n);
  dx[i] = dy[i] * a + (x[i] - mean[k]) * b + c;
}
