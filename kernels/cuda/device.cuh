// Included by every .cu file: what the emulator's header has is CUDA's own here, and what both lack.
#pragma once

#include "types.h"

#ifdef GRAFT_EMULATOR
#define NOT_INLINED inline
#else
#define NOT_INLINED inline __noinline__
/** A kernel that is launched by its name, with at most `threads` a block. (CUDA has functions of some of these names.) */
#define KERNEL(threads, name, ...) extern "C" __global__ void __launch_bounds__(threads) kernel_##name(__VA_ARGS__)
/** Memory of the block, `count` values. */
#define SHARED(type, name, count) __shared__ type name[count]
#define DYNAMIC_SHARED(type, name)                                  \
  extern __shared__ __align__(16) unsigned char dynamicMemory[];    \
  type* const name = reinterpret_cast<type*>(dynamicMemory)
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#endif

constexpr unsigned kAll = 0xffffffffu;

/** This thread's number in the grid (one-dimensional). */
inline Index threadNumber() { return Index(blockIdx.x) * blockDim.x + threadIdx.x; }

inline float bf16ToFloat(uint16_t x) { return __uint_as_float(uint32_t(x) << 16); }
/** To the nearest, ties to even; a NaN stays one. */
inline uint16_t floatToBf16(float x) {
  const uint32_t u = __float_as_uint(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return uint16_t(u >> 16 | 0x40);
  return uint16_t((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}
#ifdef GRAFT_EMULATOR
inline float f16ToFloat(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
  if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | fraction << 13);
  if (exponent == 0) {
    const float tiny = float(fraction) * 5.9604644775390625e-8f;  // 2^-24
    return sign ? -tiny : tiny;
  }
  return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
}
#else
inline float f16ToFloat(uint16_t h) {
  float out;
  asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(h));
  return out;
}
#endif

/** Element i of float memory stored as `storage`; also int32 and bool. */
inline float loadFloat(const void* x, int storage, Index i) {
  switch (storage) {
    case kF32: return static_cast<const float*>(x)[i];
    case kBf16: return bf16ToFloat(static_cast<const uint16_t*>(x)[i]);
    case kF16: return f16ToFloat(static_cast<const uint16_t*>(x)[i]);
    case kI32: return float(static_cast<const int32_t*>(x)[i]);
    default: return float(static_cast<const uint8_t*>(x)[i]);
  }
}
inline double loadDouble(const void* x, int storage, Index i) {
  return storage == kI32 ? double(static_cast<const int32_t*>(x)[i]) : double(loadFloat(x, storage, i));
}

/** What a JavaScript Int32Array stores for x. */
inline int32_t toInt32(double x) {
  if (x > -2147483649.0 && x < 2147483648.0) return int32_t(x);
  if (!(fabs(x) < 1.7976931348623157e308)) return 0;
  return int32_t(uint32_t((long long)(fmod(trunc(x), 4294967296.0))));
}
inline void storeDouble(void* y, int storage, Index i, double value) {
  if (storage == kF32) static_cast<float*>(y)[i] = float(value);
  else if (storage == kI32) static_cast<int32_t*>(y)[i] = toInt32(value);
  else static_cast<uint8_t*>(y)[i] = uint8_t(toInt32(value));
}

// --- sums and the like over a warp, over a block ------------------------------------------------------------------------------

struct Add { template <class T> T operator()(T a, T b) const { return a + b; } };
struct Multiply { template <class T> T operator()(T a, T b) const { return a * b; } };
/** NaN if one is. */
struct Larger { template <class T> T operator()(T a, T b) const { return a > b || a != a ? a : b; } };
struct Smaller { template <class T> T operator()(T a, T b) const { return a < b || a != a ? a : b; } };

/** A structure has one of its own, beside it. */
template <class T>
inline T shuffleXor(T x, int with) { return __shfl_xor_sync(kAll, x, with); }

/** Of all lanes, in all lanes. */
template <class T, class F>
inline T overWarp(T x, F f) {
  for (int d = 16; d > 0; d >>= 1) x = f(x, shuffleXor(x, d));
  return x;
}

/** Of all threads of the block (a multiple of 32, at most 1024), in all threads; `identity` for warps there are not. */
template <class T, class F>
inline T overBlock(T x, T identity, F f) {
  SHARED(T, parts, 32);
  x = overWarp(x, f);
  const unsigned warp = threadIdx.x >> 5, lane = threadIdx.x & 31, warps = blockDim.x >> 5;
  if (lane == 0) parts[warp] = x;
  __syncthreads();
  x = overWarp(lane < warps ? parts[lane] : identity, f);
  __syncthreads();  // parts may be used again
  return x;
}
