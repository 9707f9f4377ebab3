// Resizing images, bilinear and nearest, and the gradients: each output pixel reads (or adds to) at most four input pixels.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core.h"

namespace graft {
namespace {

/** Where an output row or column lies between two of the input; `fraction` is the second one's weight. */
struct Tap { int64_t low, high; float fraction; };

std::vector<Tap> taps(int64_t in, int64_t out, bool nearest, bool alignCorners, bool halfPixel) {
  elements({in, out});
  const bool align = alignCorners && out > 1;
  const double ratio = double(align ? in - 1 : in) / double(align ? out - 1 : out);
  std::vector<Tap> result(static_cast<size_t>(out));
  for (int64_t i = 0; i < out; i++) {
    Tap& t = result[size_t(i)];
    if (nearest) {
      const double at = halfPixel ? ratio * (double(i) + 0.5) : ratio * double(i);
      t.low = std::max<int64_t>(0, std::min(in - 1, int64_t(alignCorners ? std::floor(at + 0.5) : std::floor(at))));
      t.high = t.low;
      t.fraction = 0;
    } else {
      const double at = halfPixel ? ratio * (double(i) + 0.5) - 0.5 : ratio * double(i);
      t.low = std::max<int64_t>(0, int64_t(std::floor(at)));
      t.high = std::max<int64_t>(0, std::min(in - 1, int64_t(std::ceil(at))));
      t.fraction = float(at - double(t.low));
    }
  }
  return result;
}

struct Resize {
  int64_t batch, inHeight, inWidth, outHeight, outWidth, channels;
  std::vector<Tap> rows, columns;

  /** From arguments i…: batch, height, width, new height, new width, channels, nearest, alignCorners, halfPixelCenters. */
  Resize(const Args& args, int i)
      : batch(args.integer(i)), inHeight(args.integer(i + 1)), inWidth(args.integer(i + 2)), outHeight(args.integer(i + 3)),
        outWidth(args.integer(i + 4)), channels(args.integer(i + 5)),
        rows(taps(inHeight, outHeight, args.flag(i + 6), args.flag(i + 7), args.flag(i + 8))),
        columns(taps(inWidth, outWidth, args.flag(i + 6), args.flag(i + 7), args.flag(i + 8))) {}
  int64_t inputs() const { return elements({batch, inHeight, inWidth, channels}); }
  int64_t outputs() const {
    const int64_t count = elements({batch, outHeight, outWidth, channels});
    if (count > 0 && inputs() == 0) fail("resize: an image without pixels");
    return count;
  }
};

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
