// Convolution kernels on NHWC rows. Nothing is unfolded: an output pixel is a sum over taps, and the values a tap reads are a run of
// consecutive floats, so register tiles of pixels × channels read the (padded) image in place.
#pragma once

#include "dispatch.h"

namespace graft {

/** Output channels per panel of packed weights. */
GRAFT_VARIANTS(int, convPanel, ())

/**
 * One row of output pixels for `cols` ≤ convPanel() channels: pixel i reads, for every tap t, `run` floats at
 * x + i·step + taps[t]. w: [taps, run, convPanel()]; bias: [convPanel()] or null; pixel i is written to y + i·yStep.
 */
GRAFT_VARIANTS(void, convRow, (const float* x, int64_t step, const int64_t* taps, int64_t nTaps, int64_t run, const float* w,
                               const float* bias, float* y, int64_t yStep, int64_t pixels, int64_t cols))

/**
 * out [run, convPanel()] += Σ over rows × pixels of x ⊗ dy, where x + row·xRow + pixel·xStep holds `run` floats and
 * dy + row·dyRow + pixel·dyStep `cols` of them, rounded up to whole vectors.
 */
GRAFT_VARIANTS(void, convFilter, (const float* x, int64_t xRow, int64_t xStep, const float* dy, int64_t dyRow, int64_t dyStep,
                                  int64_t rows, int64_t pixels, int64_t run, int64_t cols, float* out))
/** The same for one filter per channel: w [taps, channels], bias [channels] or null; `channels` floats per pixel. */
GRAFT_VARIANTS(void, depthwiseRow, (const float* x, int64_t step, const int64_t* taps, int64_t nTaps, const float* w, const float* bias,
                                    float* y, int64_t yStep, int64_t pixels, int64_t channels))
/** out [channels] += Σ over rows × pixels of x ⊙ dy. */
GRAFT_VARIANTS(void, depthwiseFilter, (const float* x, int64_t xRow, int64_t xStep, const float* dy, int64_t dyRow, int64_t dyStep,
                                       int64_t rows, int64_t pixels, int64_t channels, float* out))
/** Floats per vector. */
GRAFT_VARIANTS(int, vectorLanes, ())

}  // namespace graft
