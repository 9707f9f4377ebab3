// Which pixels a resized image is made of.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "core.h"

namespace graft {

/** Where an output row or column lies between two of the input; `fraction` is the second one's weight. */
struct Tap { int64_t low, high; float fraction; };

inline std::vector<Tap> taps(int64_t in, int64_t out, bool nearest, bool alignCorners, bool halfPixel) {
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

}  // namespace graft
