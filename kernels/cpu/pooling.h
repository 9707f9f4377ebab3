// Pooling over windows of NHWC images: rows of one image at a time.
#pragma once

#include <vector>

#include "dispatch.h"

namespace graft {

struct PoolGeometry {
  int64_t B, H, W, C, KH, KW, OH, OW, sh, sw, pt, pl, dh, dw;
};

/** Output rows [begin, end) of one image; pixels outside the image do not count. */
GRAFT_VARIANTS(void, maxPool, (const PoolGeometry& g, const float* x, int64_t begin, int64_t end, float* y))
GRAFT_VARIANTS(void, averagePool, (const PoolGeometry& g, const float* x, int64_t begin, int64_t end, float* y))
/** One image's gradient, added to dx: to the first maximum of each window (best, at: C values of space each), or to all alike. */
GRAFT_VARIANTS(void, maxPoolGradient, (const PoolGeometry& g, const float* x, const float* dy, float* dx, float* best, int32_t* at))
GRAFT_VARIANTS(void, averagePoolGradient, (const PoolGeometry& g, const float* dy, float* dx))

/** From the numbers the exports take. @throws where they are impossible */
PoolGeometry poolGeometry(const std::vector<int64_t>& v);

}  // namespace graft
