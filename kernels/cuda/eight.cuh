// Eight neighbours in bf16, the unit in which operands of products on the tensor cores are read.
#pragma once

#include "mma.cuh"

struct alignas(16) Eight { uint32_t pairs[4]; };
struct alignas(16) FourFloats { float x[4]; };

inline Eight eightOf(const float (&x)[8]) { return {{pairOf(x[0], x[1]), pairOf(x[2], x[3]), pairOf(x[4], x[5]), pairOf(x[6], x[7])}}; }

/** Value i of the eight. */
inline float valueOf(const Eight& e, int i) { return __uint_as_float(i % 2 ? e.pairs[i / 2] & 0xffff0000u : e.pairs[i / 2] << 16); }

/** From memory of any float storage, at a place that 16 bytes divide. */
inline Eight loadEight(const void* x, int storage, Index at) {
  if (storage == kF32) {
    const auto* from = reinterpret_cast<const FourFloats*>(static_cast<const float*>(x) + at);
    const FourFloats a = from[0], b = from[1];
    return {{pairOf(a.x[0], a.x[1]), pairOf(a.x[2], a.x[3]), pairOf(b.x[0], b.x[1]), pairOf(b.x[2], b.x[3])}};
  }
  const Eight raw = *reinterpret_cast<const Eight*>(static_cast<const uint16_t*>(x) + at);
  if (storage == kBf16) return raw;
  float out[8];
#pragma unroll
  for (int i = 0; i < 8; i++) out[i] = f16ToFloat(uint16_t(raw.pairs[i / 2] >> i % 2 * 16));
  return eightOf(out);
}

/** `count` of eight values that lie `between` elements apart, zeros for the others. Not inlined: it is the way for odd shapes. */
NOT_INLINED Eight gatherEight(const void* x, int storage, Index at, Index between, int count) {
  float out[8];
#pragma unroll
  for (int i = 0; i < 8; i++) out[i] = i < count ? loadFloat(x, storage, at + i * between) : 0.f;
  return eightOf(out);
}
