#include "elementwise.h"
#include "vmath.h"

namespace graft {
namespace GRAFT_ISA {

template <class T, class R, class F>
static inline __attribute__((always_inline)) bool each(const T* a, const T* b, R* y, Rows r, F f) {
  for (int64_t row = 0; row < r.rows; row++, a += r.rowA, b += r.rowB, y += r.n) {
    const T* __restrict x = a;
    const T* __restrict z = b;
    R* __restrict out = y;
    const int64_t n = r.n;
    if (r.stepA && r.stepB) for (int64_t i = 0; i < n; i++) out[i] = f(x[i], z[i]);
    else if (r.stepA) for (int64_t i = 0, w = 0; i < n; i++) out[i] = f(x[i], z[w]);
    else if (r.stepB) for (int64_t i = 0, w = 0; i < n; i++) out[i] = f(x[w], z[i]);
    else for (int64_t i = 0; i < n; i++) out[i] = f(x[0], z[0]);
  }
  return true;
}

#define LOOP(T, R, op, expression) \
  case Binary::op: return each(a, b, y, r, [](T u, T v) __attribute__((always_inline)) -> R { return R(expression); });

bool binaryLoopF32(int op, const float* a, const float* b, float* y, Rows r) {
  switch (Binary(op)) {
    LOOP(float, float, Add, u + v)
    LOOP(float, float, Sub, u - v)
    LOOP(float, float, Multiply, u * v)
    LOOP(float, float, RealDiv, u / v)
    LOOP(float, float, Maximum, u > v || u != u ? u : v)
    LOOP(float, float, Minimum, u < v || u != u ? u : v)
    LOOP(float, float, SquaredDifference, (u - v) * (u - v))
    LOOP(float, float, Prelu, u < 0.f ? v * u : u)
    LOOP(float, float, EluGrad, v >= 0.f ? u : u * (v + 1.f))
    LOOP(float, float, ReluGrad, v > 0.f ? u : v != v ? v : 0.f)
    LOOP(float, float, SigmoidGrad, u * (v * (1.f - v)))
    LOOP(float, float, TanhGrad, u * (1.f - v * v))
    LOOP(float, float, GeluGrad, u * vgeluSlope(v))
    LOOP(float, float, GeluNewGrad, u * vgeluNewSlope(v))
    LOOP(float, float, SiluGrad, u * vsiluSlope(v))
    LOOP(float, float, AddRelu, u + v > 0.f ? u + v : u + v != u + v ? u + v : 0.f)
    default: return false;
  }
}

/** Sums wrap around, as they do when JavaScript stores them into an Int32Array. */
static inline int32_t wrap(uint32_t x) { return int32_t(x); }

bool binaryLoopI32(int op, const int32_t* a, const int32_t* b, int32_t* y, Rows r) {
  switch (Binary(op)) {
    LOOP(int32_t, int32_t, Add, wrap(uint32_t(u) + uint32_t(v)))
    LOOP(int32_t, int32_t, Sub, wrap(uint32_t(u) - uint32_t(v)))
    LOOP(int32_t, int32_t, Multiply, wrap(uint32_t(u) * uint32_t(v)))
    LOOP(int32_t, int32_t, Maximum, u > v ? u : v)
    LOOP(int32_t, int32_t, Minimum, u < v ? u : v)
    LOOP(int32_t, int32_t, BitwiseAnd, u & v)
    default: return false;
  }
}

#define COMPARISONS(T)                  \
  LOOP(T, uint8_t, Equal, u == v)       \
  LOOP(T, uint8_t, NotEqual, u != v)    \
  LOOP(T, uint8_t, Less, u < v)         \
  LOOP(T, uint8_t, LessEqual, u <= v)   \
  LOOP(T, uint8_t, Greater, u > v)      \
  LOOP(T, uint8_t, GreaterEqual, u >= v)

bool compareLoopF32(int op, const float* a, const float* b, uint8_t* y, Rows r) {
  switch (Binary(op)) {
    COMPARISONS(float)
    default: return false;
  }
}

bool compareLoopI32(int op, const int32_t* a, const int32_t* b, uint8_t* y, Rows r) {
  switch (Binary(op)) {
    COMPARISONS(int32_t)
    default: return false;
  }
}

bool compareLoopBool(int op, const uint8_t* a, const uint8_t* b, uint8_t* y, Rows r) {
  switch (Binary(op)) {
    COMPARISONS(uint8_t)
    LOOP(uint8_t, uint8_t, LogicalAnd, u & v)
    LOOP(uint8_t, uint8_t, LogicalOr, u | v)
    default: return false;
  }
}

void accumulate(const float* __restrict x, float* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

void selectLoop(const uint8_t* __restrict c, const int32_t* __restrict t, const int32_t* __restrict e, int32_t* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = c[i] ? t[i] : e[i];
}

}  // namespace GRAFT_ISA
}  // namespace graft
