#include "device.cuh"
#include "resize.h"

KERNEL(256, resize, const float* x, float* y, const Between* rows, const Between* columns, Sizes s, Index n) {
  const Index i = threadNumber();
  if (i >= n) return;
  const Between c = columns[i / s.channels % s.outWidth], r = rows[i / s.channels / s.outWidth % s.outHeight];
  const float* image = x + i / s.channels / s.outWidth / s.outHeight * s.inHeight * s.inWidth * s.channels + i % s.channels;
  const auto at = [=](int row, int column) { return image[Index(row * s.inWidth + column) * s.channels]; };
  const float above = at(r.low, c.low) + (at(r.low, c.high) - at(r.low, c.low)) * c.fraction;
  const float below = at(r.high, c.low) + (at(r.high, c.high) - at(r.high, c.low)) * c.fraction;
  y[i] = above + (below - above) * r.fraction;
}

/** Each input pixel gathers from the output rows and columns that read it, in their order. */
KERNEL(256, resizeGrad, const float* dy, float* dx, const Between* rows, const Between* columns, Sizes s, Index n) {
  const Index i = threadNumber();
  if (i >= n) return;
  const int column = int(i / s.channels % s.inWidth), row = int(i / s.channels / s.inWidth % s.inHeight);
  const float* from = dy + i / s.channels / s.inWidth / s.inHeight * s.outHeight * s.outWidth * s.channels + i % s.channels;
  const auto weight = [](const Between& b, int of) { return (b.low == of ? 1 - b.fraction : 0.f) + (b.high == of ? b.fraction : 0.f); };
  float sum = 0;
  for (int r = 0; r < s.outHeight; r++) {
    if (rows[r].low != row && rows[r].high != row) continue;
    const float down = weight(rows[r], row);
    for (int c = 0; c < s.outWidth; c++)
      if (columns[c].low == column || columns[c].high == column) sum += from[Index(r * s.outWidth + c) * s.channels] * down * weight(columns[c], column);
  }
  dx[i] = sum;
}
