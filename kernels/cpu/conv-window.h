// What an output pixel of a convolution reads.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "conv-geometry.h"

namespace graft {

inline int64_t roundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/** A zero-bordered window of images: rows and columns of the window before the image begins, and its size. */
struct Window {
  int64_t top, left, rows, columns, channels, imageRows, imageColumns;
  bool inPlace() const { return top == 0 && left == 0 && rows <= imageRows && columns <= imageColumns; }
  int64_t floats() const { return inPlace() ? 0 : rows * columns * channels; }
  int64_t rowStep() const { return (inPlace() ? imageColumns : columns) * channels; }

  /** Rows [begin, end) of the window on `image`, in `space` (floats()) unless they can be read where they are; returns its row 0. */
  const float* view(const float* image, int64_t begin, int64_t end, float* space) const {
    if (inPlace()) return image;
    const int64_t from = std::max<int64_t>(0, -left), to = std::min(imageColumns, columns - left);
    const int64_t before = (from + left) * channels, inside = std::max<int64_t>(0, to - from) * channels;
    for (int64_t r = begin; r < end; r++) {
      float* row = space + r * columns * channels;
      const int64_t y = r - top;
      if (y < 0 || y >= imageRows || inside == 0) {
        std::memset(row, 0, size_t(columns * channels) * 4);
        continue;
      }
      std::memset(row, 0, size_t(before) * 4);
      std::memcpy(row + before, image + (y * imageColumns + from) * channels, size_t(inside) * 4);
      std::memset(row + before + inside, 0, size_t(columns * channels - before - inside) * 4);
    }
    return space;
  }
};

inline Window inputWindow(const ConvGeometry& g) {
  return {g.pt, g.pl, (g.OH - 1) * g.sh + (g.KH - 1) * g.dh + 1, (g.OW - 1) * g.sw + (g.KW - 1) * g.dw + 1, g.C, g.H, g.W};
}

/** What one output pixel reads of a window: offsets of runs of consecutive floats. */
struct Taps {
  std::vector<int64_t> offsets;
  int64_t run;
};

/** In the forward direction a whole row of the filter is one run, unless dilation or groups tear it apart. */
inline Taps forwardTaps(const ConvGeometry& g, const Window& window) {
  const bool whole = g.G == 1 && g.dw == 1;
  Taps taps{{}, whole ? g.KW * g.C : g.cg()};
  for (int64_t kh = 0; kh < g.KH; kh++)
    for (int64_t kw = 0; kw < (whole ? 1 : g.KW); kw++) taps.offsets.push_back(kh * g.dh * window.rowStep() + kw * g.dw * g.C);
  return taps;
}

}  // namespace graft
