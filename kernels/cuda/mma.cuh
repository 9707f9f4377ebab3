// Products of small matrices on the tensor cores, spread over the lanes of a warp. With g = lane / 4 and t = lane % 4 a lane holds
//   of A (16 x 8): (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4);   of B (8 x 8): (t, g), (t + 4, g);
//   of C (16 x 8): (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
// as PTX has it for mma.m16n8k8; in bf16 a product is twice as deep, and a lane holds pairs of neighbours along the depth (m16n8k16):
//   of A (16 x 16): (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8), each with what follows it;   of B (16 x 8): (2t, g), (2t + 8, g).
#pragma once

#include "device.cuh"

#ifdef GRAFT_EMULATOR

/** Two floats in bf16, the first in the low half. */
inline uint32_t pairOf(float low, float high) { return uint32_t(floatToBf16(high)) << 16 | floatToBf16(low); }

/** Four 8 x 8 matrices of 16-bit values: lane 8i + r says where row r of matrix i begins; of each matrix a lane gets (g, 2t) and (g, 2t + 1). */
inline void loadMatrices(uint32_t (&out)[4], const uint16_t* row) {
  const char* all = emulator::exchange(kAll, &row, sizeof row);
  const unsigned lane = emulatedLane(), g = lane / 4, t = lane % 4;
  for (unsigned i = 0; i < 4; i++) std::memcpy(&out[i], *reinterpret_cast<const uint16_t* const*>(all + (8 * i + g) * 64) + 2 * t, 4);
}

/** The same matrices transposed: (2t, g) and (2t + 1, g). */
inline void loadTransposed(uint32_t (&out)[4], const uint16_t* row) {
  const char* all = emulator::exchange(kAll, &row, sizeof row);
  const unsigned lane = emulatedLane(), g = lane / 4, t = lane % 4;
  const auto at = [&](unsigned i) { return uint32_t((*reinterpret_cast<const uint16_t* const*>(all + i * 64))[g]); };
  for (unsigned i = 0; i < 4; i++) out[i] = at(8 * i + 2 * t + 1) << 16 | at(8 * i + 2 * t);
}

inline void multiplyTile(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  struct Held { uint32_t a[4], b[2]; } held = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
  const char* all = emulator::exchange(kAll, &held, sizeof held);
  const auto of = [&](unsigned lane) { return *reinterpret_cast<const Held*>(all + lane * 64); };
  const auto half = [](uint32_t pair, unsigned i) { return bf16ToFloat(uint16_t(pair >> 16 * i)); };
  const unsigned lane = emulatedLane(), g = lane / 4, t = lane % 4;
  for (unsigned e = 0; e < 4; e++) {
    const unsigned row = g + (e < 2 ? 0 : 8), column = 2 * t + e % 2;
    for (unsigned k = 0; k < 16; k++) c[e] += half(of(row % 8 * 4 + k % 8 / 2).a[row / 8 + k / 8 * 2], k % 2) * half(of(column * 4 + k % 8 / 2).b[k / 8], k % 2);
  }
}

inline float roundedToTf32(float x) { return __uint_as_float((__float_as_uint(x) + 0x1000u) & ~0x1fffu); }

/** The same products, each lane from what all lanes hold. */
inline void multiplyTile(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
  struct Held { float a[4], b[2]; } held = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const char* all = emulator::exchange(kAll, &held, sizeof held);
  const auto of = [&](unsigned lane) { return *reinterpret_cast<const Held*>(all + lane * 64); };
  const unsigned lane = emulatedLane(), g = lane / 4, t = lane % 4;
  for (unsigned e = 0; e < 4; e++) {
    const unsigned row = g + (e < 2 ? 0 : 8), column = 2 * t + e % 2;
    for (unsigned k = 0; k < 8; k++) {
      const float x = of(row % 8 * 4 + k % 4).a[row / 8 + k / 4 * 2], y = of(column * 4 + k % 4).b[k / 4];
      const float xh = roundedToTf32(x), xl = roundedToTf32(x - xh), yh = roundedToTf32(y), yl = roundedToTf32(y - yh);
      c[e] += xl * yh + xh * yl + xh * yh;
    }
  }
}

#else

inline uint32_t pairOf(float low, float high) {
  uint32_t out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}

inline void loadMatrices(uint32_t (&out)[4], const uint16_t* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(uint32_t(__cvta_generic_to_shared(row))) : "memory");
}

inline void loadTransposed(uint32_t (&out)[4], const uint16_t* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(uint32_t(__cvta_generic_to_shared(row))) : "memory");
}

inline void multiplyTile(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

inline uint32_t tf32(float x) {
  uint32_t out;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(out) : "f"(x));
  return out;
}

inline void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/** C += A B to about single precision: each operand is split into two TF32 numbers, and of the four products the smallest is left out. */
inline void multiplyTile(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
  uint32_t ah[4], al[4], bh[2], bl[2];
  for (int i = 0; i < 4; i++) ah[i] = tf32(a[i]), al[i] = tf32(a[i] - __uint_as_float(ah[i]));
  for (int i = 0; i < 2; i++) bh[i] = tf32(b[i]), bl[i] = tf32(b[i] - __uint_as_float(bh[i]));
  mma(c, al, bh);
  mma(c, ah, bl);
  mma(c, ah, bh);
}

#endif
