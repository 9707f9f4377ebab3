// Sums and maxima of a row in independent lanes, so that the compiler vectorises them; for *.isa.cc files.
#pragma once

#include <cstdint>

namespace graft {
namespace GRAFT_ISA {

/** Σ f(i) over [0, n): float32 lanes within blocks, doubles between them. The order depends on n alone. */
template <class F>
static inline __attribute__((always_inline)) double sumOver(int64_t n, F f) {
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += 1024) {
    const int64_t end = n - begin < 1024 ? n : begin + 1024;
    float lanes[32] = {};
    int64_t i = begin;
    for (; i + 32 <= end; i += 32)
      for (int k = 0; k < 32; k++) lanes[k] += f(i + k);
    float part[8];
    for (int k = 0; k < 8; k++) part[k] = (lanes[k] + lanes[k + 16]) + (lanes[k + 8] + lanes[k + 24]);
    float sum = ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
    for (; i < end; i++) sum += f(i);
    total += sum;
  }
  return total;
}

static inline float maxOf(const float* x, int64_t n) {
  float lanes[32];
  for (float& lane : lanes) lane = x[0];
  int64_t i = 0;
  for (; i + 32 <= n; i += 32)
    for (int k = 0; k < 32; k++) lanes[k] = lanes[k] > x[i + k] || lanes[k] != lanes[k] ? lanes[k] : x[i + k];
  float best = x[0];
  for (const float lane : lanes) best = best > lane || best != best ? best : lane;
  for (; i < n; i++) best = best > x[i] || best != best ? best : x[i];
  return best;
}

}  // namespace GRAFT_ISA
}  // namespace graft
