#include "few-rows.h"

#include "simd.h"

namespace graft {
namespace GRAFT_ISA {
namespace {

/** Values of a matrix stored as S (Storage as int), widened. */
template <int S>
struct Values {
  static constexpr int kSize = S == 0 ? 4 : 2;
  static vf vector(const char* x, int64_t i) {
    if constexpr (S == 0) {
      return load(reinterpret_cast<const float*>(x) + i);
    } else {
      float wide[kLanes];
      const uint16_t* h = reinterpret_cast<const uint16_t*>(x) + i;
      if constexpr (S == 3) f16ToFloat(h, wide, kLanes);
      else for (int l = 0; l < kLanes; l++) wide[l] = bf16ToFloat(h[l]);
      return load(wide);
    }
  }
  static float one(const char* x, int64_t i) {
    if constexpr (S == 0) return reinterpret_cast<const float*>(x)[i];
    const uint16_t* h = reinterpret_cast<const uint16_t*>(x) + i;
    float y;
    if constexpr (S == 3) f16ToFloat(h, &y, 1);
    else y = bf16ToFloat(*h);
    return y;
  }
};

/** R rows of A with J columns of B: two sums each, so that one addition need not wait for another. */
template <int S, int R, int J>
void dots(const float* a, int64_t ar, const char* b, int64_t k, float* c, int64_t ldc) {
  vf even[R][J] = {}, odd[R][J] = {};
  int64_t p = 0;
  for (; p + 2 * kLanes <= k; p += 2 * kLanes)
    for (int j = 0; j < J; j++) {
      const vf w0 = Values<S>::vector(b, j * k + p), w1 = Values<S>::vector(b, j * k + p + kLanes);
      for (int r = 0; r < R; r++) {
        even[r][j] += load(a + r * ar + p) * w0;
        odd[r][j] += load(a + r * ar + p + kLanes) * w1;
      }
    }
  for (int r = 0; r < R; r++)
    for (int j = 0; j < J; j++) {
      float y = vsum(even[r][j] + odd[r][j]);
      for (int64_t q = p; q < k; q++) y += a[r * ar + q] * Values<S>::one(b, j * k + q);
      c[r * ldc + j] = y;
    }
}

template <int S, int R>
void columns(const float* a, int64_t ar, const char* b, int64_t k, int64_t begin, int64_t end, float* c, int64_t ldc) {
  constexpr int kTogether = R > 2 ? 1 : 2;
  int64_t j = begin;
  for (; j + kTogether <= end; j += kTogether) dots<S, R, kTogether>(a, ar, b + j * k * Values<S>::kSize, k, c + j, ldc);
  for (; j < end; j++) dots<S, R, 1>(a, ar, b + j * k * Values<S>::kSize, k, c + j, ldc);
}

/** C stays in the first-level cache while the rows of B go by. */
template <int S, int R>
void rows(const float* a, int64_t ar, const char* b, int64_t k, int64_t n, int64_t begin, int64_t end, float* c, int64_t ldc) {
  for (int r = 0; r < R; r++)
    for (int64_t j = begin; j < end; j++) c[r * ldc + j] = 0;
  for (int64_t p = 0; p < k; p++) {
    int64_t j = begin;
    for (; j + kLanes <= end; j += kLanes) {
      const vf w = Values<S>::vector(b, p * n + j);
      for (int r = 0; r < R; r++) store(c + r * ldc + j, load(c + r * ldc + j) + set1(a[r * ar + p]) * w);
    }
    for (; j < end; j++)
      for (int r = 0; r < R; r++) c[r * ldc + j] += a[r * ar + p] * Values<S>::one(b, p * n + j);
  }
}

/** Calls F<S, R> with the storage and number of rows at hand. */
template <template <int, int> class F, int S, class... Args>
void withRowsOf(int64_t m, Args... args) {
  if (m == 1) F<S, 1>::run(args...);
  else if (m == 2) F<S, 2>::run(args...);
  else if (m == 3) F<S, 3>::run(args...);
  else F<S, 4>::run(args...);
}

template <template <int, int> class F, class... Args>
void with(int storage, int64_t m, Args... args) {
  if (storage == 0) withRowsOf<F, 0>(m, args...);
  else if (storage == 3) withRowsOf<F, 3>(m, args...);
  else withRowsOf<F, 4>(m, args...);
}

template <int S, int R>
struct Columns { template <class... Args> static void run(Args... args) { columns<S, R>(args...); } };
template <int S, int R>
struct Rows { template <class... Args> static void run(Args... args) { rows<S, R>(args...); } };

}  // namespace

void rowsByColumns(const float* a, int64_t ar, int64_t m, const void* b, int storage, int64_t k, int64_t begin, int64_t end, float* c, int64_t ldc) {
  with<Columns>(storage, m, a, ar, static_cast<const char*>(b), k, begin, end, c, ldc);
}

void rowsByRows(const float* a, int64_t ar, int64_t m, const void* b, int storage, int64_t k, int64_t n, int64_t begin, int64_t end, float* c, int64_t ldc) {
  with<Rows>(storage, m, a, ar, static_cast<const char*>(b), k, n, begin, end, c, ldc);
}

}  // namespace GRAFT_ISA
}  // namespace graft
