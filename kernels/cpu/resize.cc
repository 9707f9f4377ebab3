// Resizing images, bilinear and nearest, and the gradients: each output pixel reads (or adds to) at most four input pixels.
#include <algorithm>
#include <cstring>

#include "resize.h"

namespace graft {
namespace {

void forward(const Resize& s, const float* x, float* y) {
  parallelFor(s.batch * s.outHeight, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const Tap& r = s.rows[size_t(i % s.outHeight)];
      const float* image = x + i / s.outHeight * s.inHeight * s.inWidth * s.channels;
      const float *top = image + r.low * s.inWidth * s.channels, *bottom = image + r.high * s.inWidth * s.channels;
      float* out = y + i * s.outWidth * s.channels;
      for (const Tap& c : s.columns) {
        const int64_t left = c.low * s.channels, right = c.high * s.channels;
        for (int64_t d = 0; d < s.channels; d++) {
          const float above = top[left + d] + (top[right + d] - top[left + d]) * c.fraction;
          const float below = bottom[left + d] + (bottom[right + d] - bottom[left + d]) * c.fraction;
          *out++ = above + (below - above) * r.fraction;
        }
      }
    }
  });
}

void backward(const Resize& s, const float* dy, float* dx) {
  std::memset(dx, 0, size_t(s.inputs()) * 4);
  parallelFor(s.batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      float* image = dx + b * s.inHeight * s.inWidth * s.channels;
      const float* from = dy + b * s.outHeight * s.outWidth * s.channels;
      for (const Tap& r : s.rows) {
        float *top = image + r.low * s.inWidth * s.channels, *bottom = image + r.high * s.inWidth * s.channels;
        for (const Tap& c : s.columns) {
          const int64_t left = c.low * s.channels, right = c.high * s.channels;
          for (int64_t d = 0; d < s.channels; d++) {
            const float g = *from++, above = g * (1 - r.fraction), below = g * r.fraction;
            top[left + d] += above * (1 - c.fraction);
            top[right + d] += above * c.fraction;
            bottom[left + d] += below * (1 - c.fraction);
            bottom[right + d] += below * c.fraction;
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace graft

/** resize(x, y, batch, height, width, new height, new width, channels, nearest, alignCorners, halfPixelCenters): NHWC. */
GRAFT_EXPORT(resize) {
  const graft::Resize s(args, 2);
  graft::Scratch scratch;
  const float* x = args.f32(0, scratch, s.inputs());
  graft::forward(s, x, args.outF32(1, s.outputs()));
}

/** resizeGrad(dy, dx, …): as resize; the sizes are those of the forward pass. */
GRAFT_EXPORT(resizeGrad) {
  const graft::Resize s(args, 2);
  graft::Scratch scratch;
  const float* dy = args.f32(0, scratch, s.outputs());
  graft::backward(s, dy, args.outF32(1, s.inputs()));
}
