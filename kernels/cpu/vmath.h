// Branch-free float32 functions that the compiler vectorises, within 1.7e-7 relative; for *.isa.cc files.
#pragma once

#include <cstdint>

#define VMATH static inline __attribute__((always_inline, unused))

namespace graft {
namespace GRAFT_ISA {

static constexpr float kInf = __builtin_inff(), kNaN = __builtin_nanf("");

VMATH float asFloat(int32_t i) { float f; __builtin_memcpy(&f, &i, 4); return f; }
VMATH int32_t asInt(float f) { int32_t i; __builtin_memcpy(&i, &f, 4); return i; }

/// 2^n for -126 <= n <= 127.
VMATH float exp2i(int32_t n) { return asFloat((int32_t)(((uint32_t)n + 127u) << 23)); }
/// a - b modulo 2³²: the bits of NaN and the like may be anything.
VMATH int32_t minus(int32_t a, int32_t b) { return (int32_t)((uint32_t)a - (uint32_t)b); }

/// e^x; 0 and infinity beyond the range, subnormal results included.
VMATH float vexp(float x) {
  x = x < -104.f ? -104.f : x;
  x = x > 89.f ? 89.f : x;
  const float magic = 12582912.f;  // 1.5 * 2^23: adding it rounds to an integer kept in the low bits
  float t = x * 1.44269504f + magic;
  int32_t n = minus(asInt(t), asInt(magic));
  float k = t - magic;
  float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.f;
  int32_t half = n >> 1;  // in two steps: 2^128 and 2^-140 are no floats of their own
  return p * exp2i(half) * exp2i(minus(n, half));
}

/// Natural logarithm; NaN below zero, -infinity at zero.
VMATH float vlog(float x) {
  bool subnormal = x < 1.17549435e-38f;
  float y = subnormal ? x * 8388608.f : x;
  int32_t bits = asInt(y);
  int32_t e = minus(bits, 0x3f3504f3) >> 23;  // so that the mantissa lies in [√½, √2)
  float m = asFloat(minus(bits, (int32_t)((uint32_t)e << 23))) - 1.f;
  float k = (float)(subnormal ? minus(e, 23) : e);
  float p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  float z = m * m;
  float r = p * m * z - 2.12194440e-4f * k - 0.5f * z;
  r = m + r + 0.693359375f * k;
  r = x > 3.4028235e38f ? x : r;
  r = x == 0.f ? -kInf : r;
  r = x < 0.f ? kNaN : r;
  return x != x ? x : r;
}

/// e^x - 1 without cancellation near zero.
VMATH float vexpm1(float x) {
  float p = 2.48015873e-5f;
  p = p * x + 1.98412698e-4f;
  p = p * x + 1.38888889e-3f;
  p = p * x + 8.33333333e-3f;
  p = p * x + 4.16666667e-2f;
  p = p * x + 1.66666667e-1f;
  p = p * x + 0.5f;
  float small = p * x * x + x;
  return __builtin_fabsf(x) < 0.5f ? small : vexp(x) - 1.f;
}

/// log(1 + x): the logarithm of the rounded sum, corrected for the rounding.
VMATH float vlog1p(float x) {
  float w = 1.f + x;
  float l = vlog(w);
  return w > 0.f && w < 3.4028235e38f ? l + (x - (w - 1.f)) / w : l;
}

/// log(1 + e^x).
VMATH float vsoftplus(float x) { return (x > 0.f ? x : (x != x ? x : 0.f)) + vlog1p(vexp(-__builtin_fabsf(x))); }

VMATH float vsigmoid(float x) { return 1.f / (1.f + vexp(-x)); }

VMATH float vtanh(float x) {
  float a = __builtin_fabsf(x), s = x * x;
  float p = -5.70498872745e-3f;
  p = p * s + 2.06390887954e-2f;
  p = p * s - 5.37397155531e-2f;
  p = p * s + 1.33314422036e-1f;
  p = p * s - 3.33332819422e-1f;
  float small = p * s * x + x;
  float large = __builtin_copysignf(1.f - 2.f / (vexp(2.f * a) + 1.f), x);
  return a < 0.625f ? small : large;
}

/// Error function, two minimax polynomials meeting at 475/512.
VMATH float verf(float x) {
  float s = x * x;
  float p = -5.96761703e-4f;
  p = p * s + 4.99119423e-3f;
  p = p * s - 2.67681349e-2f;
  p = p * s + 1.12819925e-1f;
  p = p * s - 3.76125336e-1f;
  p = p * s + 1.28379166e-1f;
  float small = p * x + x;
  float a = __builtin_fabsf(x);
  float t = a > 4.f ? 4.f : a;
  float q = t * t;
  float r = -1.72853470e-5f * t + 3.83197126e-4f;
  float u = -3.88396438e-3f * t + 2.42546219e-2f;
  r = r * q + u;
  r = r * t - 1.06777877e-1f;
  r = r * t - 6.34846687e-1f;
  r = r * t - 1.28717512e-1f;
  r = r * t - t;
  float large = __builtin_copysignf(1.f - vexp(r), x);
  return a > 0.927734375f ? large : (x != x ? x : small);
}

/// x Φ(x) and its derivative Φ(x) + x φ(x).
VMATH float vgelu(float x) { return 0.5f * x * (1.f + verf(x * 0.70710678f)); }
VMATH float vgeluSlope(float x) { return 0.5f * (1.f + verf(x * 0.70710678f)) + x * 0.39894228f * vexp(-0.5f * x * x); }

/// gelu's tanh approximation (Hendrycks & Gimpel, 2016) and its derivative.
VMATH float vgeluNew(float x) { return 0.5f * x * (1.f + vtanh(0.79788456f * (x + 0.044715f * x * x * x))); }
VMATH float vgeluNewSlope(float x) {
  float t = vtanh(0.79788456f * (x + 0.044715f * x * x * x));
  return 0.5f * (1.f + t) + 0.5f * x * (1.f - t * t) * 0.79788456f * (1.f + 0.134145f * x * x);
}

VMATH float vsilu(float x) { return x * vsigmoid(x); }
VMATH float vsiluSlope(float x) {
  float s = vsigmoid(x);
  return s * (1.f + x * (1.f - s));
}

}  // namespace GRAFT_ISA
}  // namespace graft
