// Convolutions with frozen filters in bf16 on the tensor cores: implicit GEMM, operands rounded as they are read, sums in float32.
// Blocks: [pixels / 128, channels of a group / 64, groups]. Channels of a group on both sides are multiples of 8.
#include "conv.h"
#include "tile-bf16.cuh"

/** Goes through taps and their channels, kTileDepth channels at a time; `channels` of a group are a multiple of 8. */
struct Taps {
  int KH, KW, channels, kh, kw, channel;
  inline Taps(const Conv& c, int ofGroup, int p) : KH(c.KH), KW(c.KW), channels(ofGroup), kh(p / ofGroup / c.KW), kw(p / ofGroup % c.KW), channel(p % ofGroup) {}
  inline bool over() const { return kh >= KH; }
  inline void advance(int by) {
    for (channel += by; channel >= channels; channel -= channels)
      if (++kw == KW) kw = 0, kh++;
  }
};

/** What an output pixel reads of the images. */
struct PatchCursor {
  const float* x;  // of its image and group
  const Conv& c;
  Taps taps;
  int top, left;
  bool there;
  inline Eight next() {
    const int h = top + taps.kh * c.dh, w = left + taps.kw * c.dw;
    const bool inside = there && !taps.over() && h >= 0 && h < c.H && w >= 0 && w < c.W;
    const Eight out = inside ? loadEight(x, kF32, (Index(h) * c.W + w) * c.C + taps.channel) : Eight{};
    taps.advance(kTileDepth);
    return out;
  }
};

/** What an input pixel is read by, of the gradients. */
struct ReadCursor {
  const float* dy;
  const Conv& c;
  Taps taps;
  int top, left;  // the first output pixel, had it no stride
  bool there;
  inline Eight next() {
    const int h = top - taps.kh * c.dh, w = left - taps.kw * c.dw, oh = c.sh == 1 ? h : h / c.sh, ow = c.sw == 1 ? w : w / c.sw;
    const bool inside = there && !taps.over() && h >= 0 && w >= 0 && oh * c.sh == h && ow * c.sw == w && oh < c.OH && ow < c.OW;
    const Eight out = inside ? loadEight(dy, kF32, (Index(oh) * c.OW + ow) * c.O + taps.channel) : Eight{};
    taps.advance(kTileDepth);
    return out;
  }
};

/** A filter along the channels of the depth; or, one of these at a time, across the others. */
template <bool along>
struct FilterCursor {
  const void* w;
  int storage;
  Taps taps;
  Index at, perTap, perChannel;
  bool there;
  inline Eight next() {
    const Eight out = there && !taps.over() ? loadEight(w, storage, at + (taps.kh * taps.KW + taps.kw) * perTap + taps.channel * perChannel) : Eight{};
    taps.advance(kTileDepth);
    return out;
  }
};

/** `of`: channels the depth has, `to`: channels there are results for; both of a group. `filter` strides are in elements. */
template <bool along, bool gradient>
inline void convolve(const float* x, const void* w, const float* bias, float* y, const Conv& c, const FilterLayout& filter) {
  const int group = int(blockIdx.z), cg = c.C / c.G, og = c.O / c.G, of = gradient ? og : cg, to = gradient ? cg : og;
  const int height = gradient ? c.H : c.OH, width = gradient ? c.W : c.OW;
  const Index row0 = Index(blockIdx.x) * kTileRows, column0 = Index(blockIdx.y) * kTileColumns, rows = Index(c.B) * height * width;
  float sum[2][4][4] = {};
  const auto images = [&](int i, int p) {
    const Index row = row0 + i;
    const int column = int(row % width), line = int(row / width % height);
    const Index image = row / width / height;
    if constexpr (gradient) return ReadCursor{x + image * c.OH * c.OW * c.O + group * og, c, Taps(c, of, p), line + c.pt, column + c.pl, row < rows};
    else return PatchCursor{x + image * c.H * c.W * c.C + group * cg, c, Taps(c, of, p), line * c.sh - c.pt, column * c.sw - c.pl, row < rows};
  };
  multiplyTilesBf16<along>(Index(c.KH) * c.KW * of, images, [&](int j, int p) -> FilterCursor<along> {
    const Index column = column0 + j;
    return {w, filter.storage, Taps(c, of, p), group * filter.group + column * filter.column, filter.tap, filter.channel, column < to};
  }, sum);
  const TileBf16Lane lane;
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 4; j++)
      for (int e = 0; e < 4; e++) {
        const Index row = row0 + lane.row(i, e), column = column0 + lane.column(j, e);
        if (row < rows && column < to) y[row * (gradient ? c.C : c.O) + group * to + column] = sum[i][j][e] + (bias ? bias[group * to + column] : 0.f);
      }
}

KERNEL(256, convForwardAlong, const float* x, const void* w, const float* bias, float* y, Conv c, FilterLayout filter) { convolve<true, false>(x, w, bias, y, c, filter); }
KERNEL(256, convForwardAcross, const float* x, const void* w, const float* bias, float* y, Conv c, FilterLayout filter) { convolve<false, false>(x, w, bias, y, c, filter); }
KERNEL(256, convInputGradientAlong, const float* dy, const void* w, const float* bias, float* dx, Conv c, FilterLayout filter) { convolve<true, true>(dy, w, bias, dx, c, filter); }
KERNEL(256, convInputGradientAcross, const float* dy, const void* w, const float* bias, float* dx, Conv c, FilterLayout filter) { convolve<false, true>(dy, w, bias, dx, c, filter); }

/** y [O, taps, channels] = w [O, channels, taps] in bf16. */
KERNEL(256, tapsFirst, const void* w, int storage, uint16_t* y, int taps, int channels, Index n) {
  const Index i = threadNumber();
  if (i >= n) return;
  const Index o = i / channels / taps;
  y[i] = floatToBf16(loadFloat(w, storage, (o * channels + i % channels) * taps + i / channels % taps));
}
