// Pooling over windows of NHWC images; pixels outside the image do not count. Gradients are gathered: each input pixel looks at its windows.
#include "device.cuh"
#include "pooling.h"

/** f(offset of the pixel) for every pixel inside the image of the window at (r, c), in order; returns their number. */
template <class F>
inline int window(const Pool& g, int r, int c, const F& f) {
  int n = 0;
  for (int i = 0; i < g.KH; i++)
    for (int j = 0; j < g.KW; j++) {
      const int y = r * g.sh - g.pt + i * g.dh, x = c * g.sw - g.pl + j * g.dw;
      if (y < 0 || y >= g.H || x < 0 || x >= g.W) continue;
      f(Index(y * g.W + x) * g.C);
      n++;
    }
  return n;
}

/** f(r, c) for every window that has the input pixel (y, x). */
template <class F>
inline void windows(const Pool& g, int y, int x, const F& f) {
  for (int i = 0; i < g.KH; i++)
    for (int j = 0; j < g.KW; j++) {
      const int a = y + g.pt - i * g.dh, b = x + g.pl - j * g.dw, r = a / g.sh, c = b / g.sw;
      if (a < 0 || b < 0 || r * g.sh != a || c * g.sw != b || r >= g.OH || c >= g.OW) continue;
      f(r, c);
    }
}

KERNEL(256, poolForward, const float* x, float* y, int average, Pool g, Index n) {
  const Index i = threadNumber();
  if (i >= n) return;
  const int channel = int(i % g.C), c = int(i / g.C % g.OW), r = int(i / g.C / g.OW % g.OH);
  const float* image = x + i / g.C / g.OW / g.OH * g.H * g.W * g.C + channel;
  float value = average ? 0 : -INFINITY;
  const int count = window(g, r, c, [&](Index at) {
    if (average) value += image[at];
    else value = image[at] > value ? image[at] : value;
  });
  y[i] = average ? value * (1.f / float(count)) : value;
}

/** To the first maximum of each window. */
KERNEL(256, maxPoolGradient, const float* x, const float* dy, float* dx, Pool g, Index n) {
  const Index i = threadNumber();
  if (i >= n) return;
  const int channel = int(i % g.C), px = int(i / g.C % g.W), py = int(i / g.C / g.W % g.H);
  const Index b = i / g.C / g.W / g.H, own = Index(py * g.W + px) * g.C;
  const float *image = x + b * g.H * g.W * g.C + channel, *from = dy + b * g.OH * g.OW * g.C + channel;
  float sum = 0;
  windows(g, py, px, [&](int r, int c) {
    float best = -INFINITY;
    Index where = -1;
    window(g, r, c, [&](Index at) {
      if (image[at] > best) best = image[at], where = at;
    });
    if (where == own) sum += from[Index(r * g.OW + c) * g.C];
  });
  dx[i] = sum;
}

KERNEL(256, averagePoolGradient, const float* dy, float* dx, Pool g, Index n) {
  const Index i = threadNumber();
  if (i >= n) return;
  const int channel = int(i % g.C), px = int(i / g.C % g.W), py = int(i / g.C / g.W % g.H);
  const float* from = dy + i / g.C / g.W / g.H * g.OH * g.OW * g.C + channel;
  float sum = 0;
  windows(g, py, px, [&](int r, int c) { sum += 1.f / float(window(g, r, c, [](Index) {})) * from[Index(r * g.OW + c) * g.C]; });
  dx[i] = sum;
}
