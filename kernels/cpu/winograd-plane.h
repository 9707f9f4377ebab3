// Winograd's form of a convolution and of its gradient to the input (kernels: winograd.h).
#pragma once

#include <functional>

#include "conv-geometry.h"
#include "winograd.h"

namespace graft {

/** A plane of y = conv(x): [B, H, W, C] → [B, OH, OW, O], with `top` and `left` zeros before each image. */
struct WinogradPlane {
  int64_t B, H, W, C, OH, OW, O, top, left;

  int64_t tileRows() const { return (OH + kTileOut - 1) / kTileOut; }
  int64_t tileColumns() const { return (OW + kTileOut - 1) / kTileOut; }
  int64_t tiles() const { return B * tileRows() * tileColumns(); }
  /** Floats of the transformed filter: [point, panel over O, C, convPanel()]. */
  int64_t filterFloats() const;
  /** Whether transforming costs less than it saves; a filter that changes is transformed at every call. */
  bool pays(bool frozen) const;
};

/** The plane of the forward direction, or of the gradient to the input; B = 0 where the convolution has no such form. */
WinogradPlane forwardPlane(const ConvGeometry& g);
WinogradPlane gradientPlane(const ConvGeometry& g);

/** v ← G g Gᵀ. tap(o, c, k): the weight of output channel o, input channel c of the plane at tap k = 3·row + column. */
void transformFilter(const WinogradPlane& p, const std::function<float(int64_t, int64_t, int)>& tap, float* v);

void winograd(const WinogradPlane& p, const float* x, const float* v, const float* bias, float* y);

}  // namespace graft
