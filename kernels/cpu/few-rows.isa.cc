#include "few-rows.h"

#include "panels.h"
#include "simd.h"

namespace graft {
namespace GRAFT_ISA {
namespace {

/** Values of a matrix stored as S (Storage as int), widened. */
template <int S>
struct Values {
  static constexpr int64_t kSize = S == 0 ? 4 : 2;
  static vf vector(const char* x, int64_t i) {
    if constexpr (S == 0) {
      return load(reinterpret_cast<const float*>(x) + i);
    } else if constexpr (S == 3) {
      float wide[kLanes];
      f16ToFloat(reinterpret_cast<const uint16_t*>(x) + i, wide, kLanes);
      return load(wide);
    } else {
      typedef uint16_t vh __attribute__((vector_size(kLanes * 2)));
      vh h;
      __builtin_memcpy(&h, x + i * 2, sizeof h);
      return (vf)(__builtin_convertvector(h, vi) << 16);
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

/** Rows become columns: a round interleaves row i with row i + kLanes / 2, and after log2(kLanes) of them all are in place. */
void transpose(vf (&x)[kLanes]) {
  vi low, high;
  for (int l = 0; l < kLanes; l++) {
    low[l] = l / 2 + (l % 2 ? kLanes : 0);
    high[l] = low[l] + kLanes / 2;
  }
  for (int round = 1; round < kLanes; round *= 2) {
    vf y[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < kLanes / 2; i++) {
      y[2 * i] = __builtin_shuffle(x[i], x[i + kLanes / 2], low);
      y[2 * i + 1] = __builtin_shuffle(x[i], x[i + kLanes / 2], high);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i++) x[i] = y[i];
  }
}

/** What one sum over a depth block becomes: as the tile of packed products has it. */
inline float finished(float sum, const FewRows& x, int64_t r, int64_t j, bool first, bool last) {
  float y = sum * x.alpha;
  const float* add = first ? x.add : x.c;
  if (add) y += add[r * x.n + j];
  if (last && x.bias) y += x.bias[j];
  return y;
}

/** R rows with kLanes columns from j on, `here` of which are there. */
template <int S, int R>
void columnTile(const FewRows& x, int64_t j, int here) {
  const char* row[kLanes];
  for (int l = 0; l < kLanes; l++) row[l] = static_cast<const char*>(x.b) + (j + (l < here ? l : here - 1)) * x.k * Values<S>::kSize;
  for (int64_t p0 = 0; p0 == 0 || p0 < x.k; p0 += kDepth) {
    const int64_t end = x.k - p0 < kDepth ? x.k : p0 + kDepth;
    vf acc[R] = {};
    int64_t p = p0;
    for (; p + kLanes <= end; p += kLanes) {
      vf w[kLanes];
#pragma GCC unroll 16
      for (int l = 0; l < kLanes; l++) w[l] = Values<S>::vector(row[l], p);
      transpose(w);
#pragma GCC unroll 16
      for (int l = 0; l < kLanes; l++)
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) acc[r] += set1(x.a[r * x.ar + p + l]) * w[l];
    }
    for (; p < end; p++) {
      vf w;
      for (int l = 0; l < kLanes; l++) w[l] = Values<S>::one(row[l], p);
      for (int r = 0; r < R; r++) acc[r] += set1(x.a[r * x.ar + p]) * w;
    }
    for (int r = 0; r < R; r++)
      for (int l = 0; l < here; l++) x.c[r * x.n + j + l] = finished(acc[r][l], x, r, j + l, p0 == 0, end == x.k);
  }
}

template <int S, int R>
void byColumns(const FewRows& x, int64_t begin, int64_t end) {
  for (int64_t j = begin; j < end; j += kLanes) columnTile<S, R>(x, j, int(end - j < kLanes ? end - j : kLanes));
}

/** Columns whose sums stay in the first-level cache while the rows of B go by, P at a time. */
constexpr int64_t kTogether = 1024;

/** Adds rows [p, p + P) of B, `whole` columns from `b` on, to the sums: for every column one after another. */
template <int S, int R, int P>
inline void addRows(const FewRows& x, int64_t p, const char* b, int64_t whole, float* sums) {
  for (int64_t j = 0; j < whole; j += kLanes) {
    vf w[P];
#pragma GCC unroll 4
    for (int i = 0; i < P; i++) w[i] = Values<S>::vector(b, i * x.n + j);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      vf sum = load(sums + r * kTogether + j);
#pragma GCC unroll 4
      for (int i = 0; i < P; i++) sum += set1(x.a[r * x.ar + p + i]) * w[i];
      store(sums + r * kTogether + j, sum);
    }
  }
}

template <int S, int R>
void byRows(const FewRows& x, int64_t begin, int64_t end) {
  const char* b = static_cast<const char*>(x.b);
  float sums[R * kTogether];
  for (int64_t j0 = begin; j0 < end; j0 += kTogether) {
    const int64_t here = end - j0 < kTogether ? end - j0 : kTogether, whole = here / kLanes * kLanes;
    for (int64_t p0 = 0; p0 == 0 || p0 < x.k; p0 += kDepth) {
      const int64_t stop = x.k - p0 < kDepth ? x.k : p0 + kDepth;
      for (int64_t i = 0; i < R * kTogether; i++) sums[i] = 0;
      int64_t p = p0;
      for (; p + 4 <= stop; p += 4) addRows<S, R, 4>(x, p, b + (p * x.n + j0) * Values<S>::kSize, whole, sums);
      for (; p < stop; p++) addRows<S, R, 1>(x, p, b + (p * x.n + j0) * Values<S>::kSize, whole, sums);
      for (p = p0; p < stop && whole < here; p++) {
        for (int64_t j = whole; j < here; j++) {
          const vf w = set1(Values<S>::one(b, p * x.n + j0 + j));
          for (int r = 0; r < R; r++) {
            vf sum = set1(sums[r * kTogether + j]);
            sum += set1(x.a[r * x.ar + p]) * w;
            sums[r * kTogether + j] = sum[0];
          }
        }
      }
      for (int r = 0; r < R; r++)
        for (int64_t j = 0; j < here; j++) x.c[r * x.n + j0 + j] = finished(sums[r * kTogether + j], x, r, j0 + j, p0 == 0, stop == x.k);
    }
  }
}

template <int S>
void byColumnsOf(const FewRows& x, int64_t begin, int64_t end) {
  (x.m == 1 ? byColumns<S, 1> : x.m == 2 ? byColumns<S, 2> : x.m == 3 ? byColumns<S, 3> : byColumns<S, 4>)(x, begin, end);
}

template <int S>
void byRowsOf(const FewRows& x, int64_t begin, int64_t end) {
  (x.m == 1 ? byRows<S, 1> : x.m == 2 ? byRows<S, 2> : x.m == 3 ? byRows<S, 3> : byRows<S, 4>)(x, begin, end);
}

}  // namespace

void rowsByColumns(const FewRows& x, int64_t begin, int64_t end) {
  (x.storage == 0 ? byColumnsOf<0> : x.storage == 3 ? byColumnsOf<3> : byColumnsOf<4>)(x, begin, end);
}

void rowsByRows(const FewRows& x, int64_t begin, int64_t end) {
  (x.storage == 0 ? byRowsOf<0> : x.storage == 3 ? byRowsOf<3> : byRowsOf<4>)(x, begin, end);
}

}  // namespace GRAFT_ISA
}  // namespace graft
