#include "pooling.h"

#include "simd.h"

namespace graft {
namespace GRAFT_ISA {

/** f(offset of the pixel) for every pixel of the window of output pixel (r, c) that lies inside the image; returns their number. */
template <class F>
static inline int64_t window(const PoolGeometry& g, int64_t r, int64_t c, const F& f) {
  int64_t n = 0;
  for (int64_t i = 0; i < g.KH; i++) {
    const int64_t y = r * g.sh - g.pt + i * g.dh;
    if (y < 0 || y >= g.H) continue;
    for (int64_t j = 0; j < g.KW; j++) {
      const int64_t x = c * g.sw - g.pl + j * g.dw;
      if (x < 0 || x >= g.W) continue;
      f((y * g.W + x) * g.C);
      n++;
    }
  }
  return n;
}

static inline void fill(float* y, float value, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = value;
}

void maxPool(const PoolGeometry& g, const float* x, int64_t begin, int64_t end, float* y) {
  for (int64_t r = begin; r < end; r++)
    for (int64_t c = 0; c < g.OW; c++) {
      float* to = y + (r * g.OW + c) * g.C;
      fill(to, -__builtin_inff(), g.C);
      window(g, r, c, [&](int64_t at) {
        for (int64_t k = 0; k < g.C; k++) to[k] = x[at + k] > to[k] ? x[at + k] : to[k];
      });
    }
}

void averagePool(const PoolGeometry& g, const float* x, int64_t begin, int64_t end, float* y) {
  for (int64_t r = begin; r < end; r++)
    for (int64_t c = 0; c < g.OW; c++) {
      float* to = y + (r * g.OW + c) * g.C;
      fill(to, 0, g.C);
      const int64_t n = window(g, r, c, [&](int64_t at) {
        for (int64_t k = 0; k < g.C; k++) to[k] += x[at + k];
      });
      const float scale = 1.0f / float(n);  // NaN for an empty window, as TensorFlow.js has it
      for (int64_t k = 0; k < g.C; k++) to[k] *= scale;
    }
}

void maxPoolGradient(const PoolGeometry& g, const float* x, const float* dy, float* dx, float* best, int32_t* where) {
  for (int64_t r = 0; r < g.OH; r++)
    for (int64_t c = 0; c < g.OW; c++, dy += g.C) {
      fill(best, -__builtin_inff(), g.C);
      for (int64_t k = 0; k < g.C; k++) where[k] = -1;
      window(g, r, c, [&](int64_t at) {
        for (int64_t k = 0; k < g.C; k++) {
          const bool more = x[at + k] > best[k];
          best[k] = more ? x[at + k] : best[k];
          where[k] = more ? int32_t(at) : where[k];
        }
      });
      for (int64_t k = 0; k < g.C; k++)
        if (where[k] >= 0) dx[where[k] + k] += dy[k];
    }
}

void averagePoolGradient(const PoolGeometry& g, const float* dy, float* dx) {
  for (int64_t r = 0; r < g.OH; r++)
    for (int64_t c = 0; c < g.OW; c++, dy += g.C) {
      const float scale = 1.0f / float(window(g, r, c, [](int64_t) {}));
      window(g, r, c, [&](int64_t at) {
        for (int64_t k = 0; k < g.C; k++) dx[at + k] += scale * dy[k];
      });
    }
}

}  // namespace GRAFT_ISA
}  // namespace graft
