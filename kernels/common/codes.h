// The numbers that codes of weights stand for, on the CPU and on the GPU.
#pragma once

namespace graft {

/** Values that share a scale in NF4, and scales that share one. */
static constexpr int kCodedBlock = 64, kCodedScales = 256;

/** NormalFloat, 4 bits (Dettmers et al., 2023, appendix E): quantiles of the standard normal distribution, scaled to [-1, 1], zero among them. */
static constexpr float kNf4[16] = {-1.f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,
                                   -0.09105003625154495f, 0.f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
                                   0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.f};

}  // namespace graft
