// Random changes of images for test-time adaptation: colour, place, sharpness, noise.
#pragma once

#include <cstdint>

#include "dispatch.h"

namespace graft {

/** What is done to one image. The layout is that of `encode` in kernels/src/ops/augment.ts. */
struct Augmentation {
  int32_t order[5];                                          // of brightness 0, contrast 1, saturation 2, hue 3, gamma 4
  float brightness, contrast, saturation, hue, gamma;        // factors, turns, exponent
  float cosine, sine, dx, dy;                                // output to input, about the centre: rotation over scale, then shift in pixels
  float taps[3];                                             // of the blur, by distance
  bool flip;
  float noise;                                               // standard deviation
  uint32_t key0, key1;                                       // of the noise
};

constexpr int64_t kBlurReach = 2;  // pixels

/** Floats of scratch memory an image needs. */
constexpr int64_t augmentScratch(int64_t H, int64_t W) { return 7 * H * W + 4 * (H + 2 * kBlurReach) * (2 * W + 2 * kBlurReach); }

/** y = x augmented, both [H, W, 3]; `index` sets the noise of this image apart from that of the others. */
GRAFT_VARIANTS(void, augmentImage, (const float* x, float* y, int64_t H, int64_t W, const Augmentation& o, uint32_t index, float* scratch))

}  // namespace graft
