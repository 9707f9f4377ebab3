// What is done to an image, for whoever knows int32_t and uint32_t: the CPU's loops and the GPU's kernels.
#pragma once

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

constexpr int kBlurReach = 2;  // pixels

}  // namespace graft
