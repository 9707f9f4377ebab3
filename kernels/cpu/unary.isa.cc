#include "elementwise.h"
#include "vmath.h"

namespace graft {
namespace GRAFT_ISA {

template <class F>
static inline bool each(const float* __restrict x, float* __restrict y, int64_t n, F f) {
  for (int64_t i = 0; i < n; i++) y[i] = f(x[i]);
  return true;
}

#define LOOP(op, expression) \
  case Unary::op: return each(x, y, n, [=](float v) __attribute__((always_inline)) -> float { return expression; });

bool unaryLoop(int op, const float* x, float* y, int64_t n, [[maybe_unused]] float p, [[maybe_unused]] float q) {
  constexpr float seluScale = 1.0507009873554805f, seluScaleAlpha = 1.7580993408473768f;
  switch (Unary(op)) {
    LOOP(Abs, __builtin_fabsf(v))
    LOOP(Neg, -v)
    LOOP(Exp, vexp(v))
    LOOP(Expm1, vexpm1(v))
    LOOP(Log, vlog(v))
    LOOP(Log1p, vlog1p(v))
    LOOP(Sqrt, __builtin_sqrtf(v))
    LOOP(Rsqrt, 1.f / __builtin_sqrtf(v))
    LOOP(Square, v * v)
    LOOP(Reciprocal, 1.f / v)
    LOOP(Sigmoid, vsigmoid(v))
    LOOP(Tanh, vtanh(v))
    LOOP(Erf, verf(v))
    LOOP(Softplus, vsoftplus(v))
    LOOP(Relu, v <= 0.f ? 0.f : v)
    LOOP(Relu6, v <= 0.f ? 0.f : v >= 6.f ? 6.f : v)
    LOOP(Elu, v >= 0.f ? v : vexpm1(v))
    LOOP(Selu, v >= 0.f ? seluScale * v : seluScaleAlpha * vexpm1(v))
    LOOP(LeakyRelu, v < 0.f ? p * v : v)
    LOOP(Step, v > 0.f ? 1.f : v != v ? v : p)
    LOOP(Sign, v > 0.f ? 1.f : v < 0.f ? -1.f : 0.f)
    LOOP(Floor, __builtin_floorf(v))
    LOOP(Ceil, __builtin_ceilf(v))
    LOOP(Round, __builtin_nearbyintf(v))
    LOOP(ClipByValue, v > q ? q : v < p ? p : v)
    LOOP(Gelu, vgelu(v))
    LOOP(GeluNew, vgeluNew(v))
    LOOP(Silu, vsilu(v))
    default: return false;
  }
}

}  // namespace GRAFT_ISA
}  // namespace graft
