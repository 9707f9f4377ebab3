// The hash behind random numbers, for whoever knows uint32_t: the CPU's loops and the GPU's kernels.
#pragma once

namespace graft {

static constexpr uint32_t kGolden = 0x9e3779b9u;

/** A bijection of 32-bit integers in which every bit depends on every other (the finaliser of splitmix32). T: uint32_t, or a vector of them. */
template <typename T>
static inline __attribute__((always_inline)) T hash32(T h) {
  h = (h ^ (h >> 16)) * 0x21f0aaadu;
  h = (h ^ (h >> 15)) * 0x735a2d97u;
  return h ^ (h >> 15);
}

static inline uint32_t hashOf(uint32_t i, uint32_t key0, uint32_t key1) { return hash32(hash32(i ^ key0) + key1); }

}  // namespace graft
