// The numbers that the exports of convolutions take, checked.
#pragma once

#include <cstring>
#include <vector>

#include "core.h"

namespace graft {

/** B, H, W, C (input), KH, KW, OH, OW, O (output), strides, top and left padding, dilations, groups, filter layout (1: HWIO, 0: OIHW). */
struct ConvGeometry {
  int64_t B, H, W, C, KH, KW, OH, OW, O, sh, sw, pt, pl, dh, dw, G, hwio;

  explicit ConvGeometry(const std::vector<int64_t>& v) {
    if (v.size() != sizeof(ConvGeometry) / sizeof(int64_t)) fail("conv: %zu numbers of geometry", v.size());
    std::memcpy(this, v.data(), sizeof(ConvGeometry));
    if (G < 1 || C % G || O % G || sh < 1 || sw < 1 || dh < 1 || dw < 1 || KH < 1 || KW < 1 || pt < 0 || pl < 0) fail("conv: impossible geometry");
    // What a window covers: sums of these must not overflow either.
    if (elements({B, OH, sh}) + elements({KH, dh}) + elements({OW, sw}) + elements({KW, dw}) + pt + pl > int64_t(1) << 40) fail("conv: the geometry is too large");
  }
  int64_t cg() const { return C / G; }
  int64_t og() const { return O / G; }
  /** One filter per channel; a single channel is an ordinary convolution. */
  bool depthwise() const { return G > 1 && C == G && O == G; }
  int64_t inputs() const { return elements({B, H, W, C}); }
  int64_t outputs() const { return elements({B, OH, OW, O}); }
  int64_t weights() const { return elements({KH, KW, cg(), O}); }
  std::vector<int64_t> filterKey() const { return {KH, KW, C, O, G, hwio}; }
  /** Where the filter's value for output channel o, input channel i of its group, tap (kh, kw) is stored. */
  int64_t weightAt(int64_t o, int64_t i, int64_t kh, int64_t kw) const {
    return hwio ? ((kh * KW + kw) * cg() + i) * O + o : ((o * cg() + i) * KH + kh) * KW + kw;
  }
};

}  // namespace graft
