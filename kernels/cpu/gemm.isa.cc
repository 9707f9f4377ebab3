#include "panels.h"

#include "tile.h"

namespace graft {
namespace GRAFT_ISA {

static constexpr int MR = kTileRows, NR = kTileColumns;

/** What a tile does with units that are floats. */
struct Floats {
  static inline vf unit(const Unit* x) {
    float y;
    __builtin_memcpy(&y, x, 4);
    return set1(y);
  }
  static inline void add(vf& sum, vf x, vf y) { sum += x * y; }
};

/** With units that are pairs of bf16: each product is exact, sums are floats. */
struct Pairs {
  static inline vf unit(const Unit* x) { return (vf)((vi{} + int32_t(*x))); }
  static inline void add(vf& sum, vf x, vf y) {
    sum += (vf)((vi)x << 16) * (vf)((vi)y << 16);
    sum += (vf)((vi)x & int32_t(0xffff0000)) * (vf)((vi)y & int32_t(0xffff0000));
  }
};

#if defined(__AVX512F__)
/** The same in one instruction of AVX512-BF16, which this file is not compiled for. */
struct PairsAtOnce {
  static inline vf unit(const Unit* x) { return Pairs::unit(x); }
  static inline void add(vf& sum, vf x, vf y) { __asm__("vdpbf16ps %1, %2, %0" : "+v"(sum) : "v"(x), "v"(y)); }
};
#endif

/** What gemmBlock does with one tile of R rows and V vectors. */
template <class F, int R, int V>
static void tile(const Unit* a, const Unit* b, int64_t depth, int64_t cols, float* c, int64_t ldc, float alpha, const float* add, const float* bias) {
  // What is written comes into the cache meanwhile.
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) __builtin_prefetch(c + r * ldc + v * kLanes, 1);
  vf acc[R][V] = {};
  for (int64_t p = 0; p < depth; p++, a += MR, b += NR) {
    vf row[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) __builtin_memcpy(&row[v], b + v * kLanes, sizeof row[v]);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const vf x = F::unit(a + r);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) F::add(acc[r][v], x, row[v]);
    }
  }
  if (cols == V * kLanes) {
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) {
        vf y = acc[r][v] * alpha;
        if (add) y += load(add + r * ldc + v * kLanes);
        if (bias) y += load(bias + v * kLanes);
        store(c + r * ldc + v * kLanes, y);
      }
    return;
  }
  float part[R][V * kLanes];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) store(part[r] + v * kLanes, acc[r][v] * alpha);
  for (int r = 0; r < R; r++)
    for (int64_t j = 0; j < cols; j++) {
      float y = part[r][j];
      if (add) y += add[r * ldc + j];
      if (bias) y += bias[j];
      c[r * ldc + j] = y;
    }
}

template <class F, int R>
static inline void rowsTile(int64_t rows, const Unit* a, const Unit* b, int64_t depth, int64_t cols, float* c, int64_t ldc, float alpha,
                            const float* add, const float* bias) {
  if constexpr (R > 1)
    if (rows < R) return rowsTile<F, R - 1>(rows, a, b, depth, cols, c, ldc, alpha, add, bias);
  if (cols > kLanes) tile<F, R, 2>(a, b, depth, cols, c, ldc, alpha, add, bias);
  else tile<F, R, 1>(a, b, depth, cols, c, ldc, alpha, add, bias);
}

template <class F>
static void block(const Unit* a, const Unit* b, int64_t m, int64_t n, int64_t depth, float* c, int64_t ldc, float alpha, const float* add,
                  const float* bias) {
  for (int64_t j = 0; j < n; j += NR)
    for (int64_t i = 0; i < m; i += MR)
      rowsTile<F, MR>(m - i < MR ? m - i : MR, a + i * depth, b + j * depth, depth, n - j < NR ? n - j : NR, c + i * ldc + j, ldc, alpha,
                      add ? add + i * ldc + j : nullptr, bias ? bias + j : nullptr);
}

void gemmBlock(Arithmetic arithmetic, const Unit* a, const Unit* b, int64_t m, int64_t n, int64_t depth, float* c, int64_t ldc, float alpha,
               const float* add, const float* bias) {
#if defined(__AVX512F__)
  if (arithmetic == Arithmetic::pairsAtOnce) return block<PairsAtOnce>(a, b, m, n, depth, c, ldc, alpha, add, bias);
#endif
  (arithmetic == Arithmetic::floats ? block<Floats> : block<Pairs>)(a, b, m, n, depth, c, ldc, alpha, add, bias);
}

}  // namespace GRAFT_ISA
}  // namespace graft
