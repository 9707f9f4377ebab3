// Vectors of the instruction set a *.isa.cc file is compiled for, through the compiler's vector extensions.
#pragma once

#include <cstdint>

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace graft {
namespace GRAFT_ISA {

#if defined(__AVX512F__)
static constexpr int kLanes = 16;
#elif defined(__AVX2__)
static constexpr int kLanes = 8;
#else
static constexpr int kLanes = 4;
#endif

typedef float vf __attribute__((vector_size(kLanes * 4)));
typedef int32_t vi __attribute__((vector_size(kLanes * 4)));

static inline vf load(const float* p) {
  vf v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
static inline void store(float* p, vf v) { __builtin_memcpy(p, &v, sizeof v); }
static inline vf set1(float x) { return x - vf{}; }  // x - 0 is x, which x + 0 is not for -0: this folds into a broadcast
/** a < b ? x : y, lane by lane, and its relatives: vselect(a < b, x, y). */
static inline vf vselect(vi mask, vf x, vf y) { return mask ? x : y; }
static inline vf vmax(vf a, vf b) { return vselect(a > b, a, b); }
static inline vf vmin(vf a, vf b) { return vselect(a < b, a, b); }
static inline vf vabs(vf a) { return (vf)((vi)a & 0x7fffffff); }
/** Lane i is what lane i + by was, counted round. */
template <int by>
static inline vf vshifted(vf v) {
  vi from;
  for (int i = 0; i < kLanes; i++) from[i] = (i + by) % kLanes;
  return __builtin_shuffle(v, from);
}
/** Always the same order: pairwise by halves. */
static inline float vsum(vf v) {
#if defined(__AVX512F__)
  v += vshifted<8>(v);
#endif
#if defined(__AVX2__)
  v += vshifted<4>(v);
#endif
  v += vshifted<2>(v);
  v += vshifted<1>(v);
  return v[0];
}

/** eˣ within 2 ulp; 0 below -87.3, +inf above 88.7, NaN kept (Cephes' polynomial). */
static inline vf vexp(vf x) {
  const vf clamped = vmin(vmax(x, set1(-87.3365479f)), set1(88.7228394f));
  const vf shifted = clamped * 1.44269504f + 12582912.0f;  // 1.5·2²³: rounds to the nearest integer
  const vf n = shifted - 12582912.0f;
  vf r = clamped - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // Two steps so that 2¹²⁸ does not overflow the exponent field.
  const vi k = (vi)shifted - 0x4b400000, half = k >> 1;
  vf y = p * (vf)((half + 127) << 23) * (vf)((k - half + 127) << 23);
  y = vselect(x < -87.3365479f, vf{}, y);
  y = vselect(x > 88.7228394f, set1(__builtin_inff()), y);
  return vselect(x == x, y, x);
}

static inline vf vsigmoid(vf x) { return 1.0f / (1.0f + vexp(-x)); }

/** tanh within 3 ulp: an odd polynomial near zero, exponentials elsewhere. */
static inline vf vtanh(vf x) {
  const vf a = vabs(x), s = x * x;
  vf p = s * -5.70498872745e-3f + 2.06390887954e-2f;
  p = p * s - 5.37397155531e-2f;
  p = p * s + 1.33314422036e-1f;
  p = p * s - 3.33332819422e-1f;
  const vf near = p * s * x + x;
  const vf far = 1.0f - 2.0f / (vexp(a + a) + 1.0f);
  const vf signedFar = (vf)((vi)far | ((vi)x & (int32_t)0x80000000));
  return vselect(a < 0.625f, near, signedFar);
}

/** erf, absolute error below 1.5e-7: a Maclaurin-like odd polynomial below 1, a rational exponential form above. */
static inline vf verf(vf x) {
  const vf a = vabs(x), s = x * x;
  vf p = s * 7.853861353153693e-5f - 8.010193625184903e-4f;
  p = p * s + 5.188327685732524e-3f;
  p = p * s - 2.685381193529856e-2f;
  p = p * s + 1.128358514861418e-1f;
  p = p * s - 3.761262582423300e-1f;
  p = p * s + 1.128379165726710e+0f;
  const vf near = p * x;
  // Abramowitz & Stegun 7.1.26 refined (Numerical Recipes' erfc, relative error 1.2e-7).
  const vf t = 1.0f / (1.0f + 0.5f * a);
  vf q = t * 0.17087277f - 0.82215223f;
  q = q * t + 1.48851587f;
  q = q * t - 1.13520398f;
  q = q * t + 0.27886807f;
  q = q * t - 0.18628806f;
  q = q * t + 0.09678418f;
  q = q * t + 0.37409196f;
  q = q * t + 1.00002368f;
  const vf far = 1.0f - t * vexp(-s - 1.26551223f + t * q);
  const vf signedFar = (vf)((vi)far | ((vi)x & (int32_t)0x80000000));
  return vselect(a < 1.0f, near, signedFar);
}

static inline float bf16ToFloat(uint16_t h) {
  const uint32_t bits = uint32_t(h) << 16;
  float f;
  __builtin_memcpy(&f, &bits, 4);
  return f;
}

static inline float f16ToFloatOne(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 1023;
  uint32_t bits;
  if (exponent == 31) bits = sign | 0x7f800000 | (fraction << 13);
  else if (exponent) bits = sign | ((exponent + 112) << 23) | (fraction << 13);
  else {
    const float f = float(fraction) * 5.9604644775390625e-8f;
    return sign ? -f : f;
  }
  float f;
  __builtin_memcpy(&f, &bits, 4);
  return f;
}

static inline void f16ToFloat(const uint16_t* x, float* out, int64_t n) {
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= n; i += 16) _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)(x + i))));
#elif defined(__F16C__)
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(x + i))));
#endif
  for (; i < n; i++) out[i] = f16ToFloatOne(x[i]);
}

}  // namespace GRAFT_ISA
}  // namespace graft
