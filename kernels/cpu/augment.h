// Random changes of images for test-time adaptation: colour, place, sharpness, noise.
#pragma once

#include <cstdint>

#include "../common/augmentation.h"
#include "dispatch.h"

namespace graft {

/** Floats of scratch memory an image needs. */
constexpr int64_t augmentScratch(int64_t H, int64_t W) { return 7 * H * W + 4 * (H + 2 * kBlurReach) * (2 * W + 2 * kBlurReach); }

/** y = x augmented, both [H, W, 3]; `index` sets the noise of this image apart from that of the others. */
GRAFT_VARIANTS(void, augmentImage, (const float* x, float* y, int64_t H, int64_t W, const Augmentation& o, uint32_t index, float* scratch))

/** From kFields numbers, as `encode` lays them out. */
constexpr int64_t kFields = 21;
Augmentation decodeAugmentation(const double* fields);

}  // namespace graft
