#include "panels.h"

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
static constexpr int kWidest = NR > MR ? NR : MR;

void gemmTile(int* mr, int* nr) { *mr = MR; *nr = NR; }

static inline void toFloats(const uint16_t* x, int storage, int64_t n, float* out) {
  if (storage == 3) return f16ToFloat(x, out, n);
  for (int64_t i = 0; i < n; i++) out[i] = bf16ToFloat(x[i]);
}

/** Depth runs along memory: `here` rows of x, rs apart, become columns of a panel. */
static inline void packTransposed(const float* x, int64_t rs, int here, int64_t depth, int width, float* out) {
  typedef float v4 __attribute__((vector_size(16)));
  typedef int32_t vi4 __attribute__((vector_size(16)));
  int i = 0;
  for (; i + 4 <= here; i += 4) {
    const float *r0 = x + i * rs, *r1 = r0 + rs, *r2 = r1 + rs, *r3 = r2 + rs;
    int64_t p = 0;
    for (; p + 4 <= depth; p += 4) {
      v4 a, b, c, d;
      __builtin_memcpy(&a, r0 + p, 16);
      __builtin_memcpy(&b, r1 + p, 16);
      __builtin_memcpy(&c, r2 + p, 16);
      __builtin_memcpy(&d, r3 + p, 16);
      const v4 ab = __builtin_shuffle(a, b, (vi4){0, 4, 1, 5}), cd = __builtin_shuffle(c, d, (vi4){0, 4, 1, 5});
      const v4 ab2 = __builtin_shuffle(a, b, (vi4){2, 6, 3, 7}), cd2 = __builtin_shuffle(c, d, (vi4){2, 6, 3, 7});
      const v4 rows[4] = {__builtin_shuffle(ab, cd, (vi4){0, 1, 4, 5}), __builtin_shuffle(ab, cd, (vi4){2, 3, 6, 7}),
                          __builtin_shuffle(ab2, cd2, (vi4){0, 1, 4, 5}), __builtin_shuffle(ab2, cd2, (vi4){2, 3, 6, 7})};
      for (int q = 0; q < 4; q++) __builtin_memcpy(out + (p + q) * width + i, &rows[q], 16);
    }
    for (; p < depth; p++) {
      float* to = out + p * width + i;
      to[0] = r0[p];
      to[1] = r1[p];
      to[2] = r2[p];
      to[3] = r3[p];
    }
  }
  for (; i < here; i++)
    for (int64_t p = 0; p < depth; p++) out[p * width + i] = x[i * rs + p];
}

static void packPanel(const void* x, int storage, int64_t rs, int64_t cs, int here, int64_t depth, int width, float* out) {
  const float* f = static_cast<const float*>(x);
  const uint16_t* h = static_cast<const uint16_t*>(x);
  constexpr int64_t chunk = 128;
  float wide[kWidest * chunk];
  if (cs == 1 && storage == 0) {
    packTransposed(f, rs, here, depth, width, out);
  } else if (cs == 1) {
    for (int64_t p = 0; p < depth; p += chunk) {
      const int64_t n = depth - p < chunk ? depth - p : chunk;
      for (int i = 0; i < here; i++) toFloats(h + i * rs + p, storage, n, wide + i * chunk);
      packTransposed(wide, chunk, here, n, width, out + p * width);
    }
  } else {
    for (int64_t p = 0; p < depth; p++) {
      float* row = out + p * width;
      if (storage == 0 && rs == 1 && here == NR) { store(row, load(f + p * cs)); store(row + kLanes, load(f + p * cs + kLanes)); }
      else if (storage == 0) for (int i = 0; i < here; i++) row[i] = f[p * cs + i * rs];
      else if (rs == 1) toFloats(h + p * cs, storage, here, row);
      else for (int i = 0; i < here; i++) toFloats(h + p * cs + i * rs, storage, 1, row + i);
    }
  }
  if (here < width)
    for (int64_t p = 0; p < depth; p++)
      for (int i = here; i < width; i++) out[p * width + i] = 0;
}

void gemmPack(const void* x, int storage, int64_t rs, int64_t cs, int64_t rows, int64_t depth, int width, float* out) {
  const int64_t size = storage == 0 ? 4 : 2;
  for (int64_t top = 0; top < rows; top += width, out += depth * width)
    packPanel(static_cast<const char*>(x) + top * rs * size, storage, rs, cs, int(rows - top < width ? rows - top : width), depth, width, out);
}

/** What gemmBlock does with one tile of R rows and V vectors. */
template <int R, int V>
static void tile(const float* a, const float* b, int64_t depth, int64_t cols, float* c, int64_t ldc, float alpha, const float* add, const float* bias) {
  vf acc[R][V] = {};
  for (int64_t p = 0; p < depth; p++, a += MR, b += NR) {
    vf row[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) row[v] = load(b + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const vf x = set1(a[r]);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) acc[r][v] += x * row[v];
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

template <int R>
static inline void rowsTile(int64_t rows, const float* a, const float* b, int64_t depth, int64_t cols, float* c, int64_t ldc, float alpha,
                            const float* add, const float* bias) {
  if constexpr (R > 1)
    if (rows < R) return rowsTile<R - 1>(rows, a, b, depth, cols, c, ldc, alpha, add, bias);
  if (cols > kLanes) tile<R, 2>(a, b, depth, cols, c, ldc, alpha, add, bias);
  else tile<R, 1>(a, b, depth, cols, c, ldc, alpha, add, bias);
}

void gemmBlock(const float* a, const float* b, int64_t m, int64_t n, int64_t depth, float* c, int64_t ldc, float alpha, const float* add,
               const float* bias) {
  for (int64_t j = 0; j < n; j += NR)
    for (int64_t i = 0; i < m; i += MR)
      rowsTile<MR>(m - i < MR ? m - i : MR, a + i * depth, b + j * depth, depth, n - j < NR ? n - j : NR, c + i * ldc + j, ldc, alpha,
                   add ? add + i * ldc + j : nullptr, bias ? bias + j : nullptr);
}

}  // namespace GRAFT_ISA
}  // namespace graft
