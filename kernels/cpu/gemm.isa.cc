#include "gemm.h"

#include "simd.h"

namespace graft {
namespace GRAFT_ISA {

#if defined(__AVX512F__)
static constexpr int MR = 14;
#elif defined(__AVX2__)
static constexpr int MR = 6;
#else
static constexpr int MR = 4;
#endif
static constexpr int NR = 2 * kLanes;

void gemmTile(int* mr, int* nr) { *mr = MR; *nr = NR; }

static inline float element(const void* x, int storage, int64_t i) {
  if (storage == 0) return static_cast<const float*>(x)[i];
  const uint16_t h = static_cast<const uint16_t*>(x)[i];
  return storage == 4 ? bf16ToFloat(h) : f16ToFloatOne(h);
}

void gemmPack(const void* x, int storage, int64_t rs, int64_t cs, int64_t rows, int64_t depth, int width, float* out) {
  for (int64_t top = 0; top < rows; top += width, out += depth * width) {
    const int here = int(rows - top < width ? rows - top : width);
    for (int64_t p = 0; p < depth; p++) {
      float* row = out + p * width;
      const int64_t at = top * rs + p * cs;
      if (storage == 0) for (int i = 0; i < here; i++) row[i] = static_cast<const float*>(x)[at + i * rs];
      else for (int i = 0; i < here; i++) row[i] = element(x, storage, at + i * rs);
      for (int i = here; i < width; i++) row[i] = 0;
    }
  }
}

void gemmBlock(const float* a, const float* b, int64_t m, int64_t n, int64_t depth, float* c, int64_t ldc, bool accumulate) {
  for (int64_t j = 0; j < n; j += NR)
    for (int64_t i = 0; i < m; i += MR) {
      const float* pa = a + i * depth;
      const float* pb = b + j * depth;
      vf acc[MR][2] = {};
      for (int64_t p = 0; p < depth; p++, pa += MR, pb += NR) {
        const vf b0 = load(pb), b1 = load(pb + kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < MR; r++) {
          const vf x = set1(pa[r]);
          acc[r][0] += x * b0;
          acc[r][1] += x * b1;
        }
      }
      const int64_t rows = m - i < MR ? m - i : MR, cols = n - j < NR ? n - j : NR;
      float tile[MR][NR];
#pragma GCC unroll 16
      for (int r = 0; r < MR; r++) { store(tile[r], acc[r][0]); store(tile[r] + kLanes, acc[r][1]); }
      for (int64_t r = 0; r < rows; r++) {
        float* to = c + (i + r) * ldc + j;
        if (accumulate) for (int64_t k = 0; k < cols; k++) to[k] += tile[r][k];
        else for (int64_t k = 0; k < cols; k++) to[k] = tile[r][k];
      }
    }
}

}  // namespace GRAFT_ISA
}  // namespace graft
