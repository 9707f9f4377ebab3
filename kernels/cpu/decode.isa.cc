#include "decode.h"

#include "../common/codes.h"
#include "simd.h"

namespace graft {
namespace GRAFT_ISA {

#ifdef __AVX2__
/** Each 32 bits, eight codes, in eight lanes. In registers throughout: what is written in parts and read whole is waited for. */
static inline vi wordsAt(const uint8_t* codes) {
  int32_t words[kLanes / 8];
  __builtin_memcpy(words, codes, sizeof words);
#ifdef __AVX512F__
  return (vi)_mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set1_epi32(words[0])), _mm256_set1_epi32(words[1]), 1);
#else
  return (vi)_mm256_set1_epi32(words[0]);
#endif
}

/** The sixteen values of NF4 times a scale. */
struct Table {
#ifdef __AVX512F__
  vf all;
  explicit Table(float scale) : all(load(kNf4) * set1(scale)) {}
  vf at(vi index) const { return (vf)_mm512_permutexvar_ps((__m512i)index, (__m512)all); }
#else
  vf low, high;
  explicit Table(float scale) : low(load(kNf4) * set1(scale)), high(load(kNf4 + 8) * set1(scale)) {}
  vf at(vi index) const {
    const __m256 x = _mm256_permutevar8x32_ps((__m256)low, (__m256i)index), y = _mm256_permutevar8x32_ps((__m256)high, (__m256i)index);
    return (vf)_mm256_blendv_ps(x, y, (__m256)(index > 7));
  }
#endif
};
#endif

void decodeNf4(const uint8_t* codes, int64_t first, int64_t count, float scale, float* out) {
  int64_t i = first;
  const int64_t end = first + count;
  if (i % 2 && i < end) *out++ = kNf4[codes[i / 2] & 15] * scale, i++;
#ifdef __AVX2__
  const Table table(scale);
  vi shifts;
  for (int k = 0; k < kLanes; k++) shifts[k] = k % 8 / 2 * 8 + (k % 2 ? 0 : 4);  // the first of a byte is in its upper half
  for (; i + kLanes <= end; i += kLanes, out += kLanes) {
    store(out, table.at(wordsAt(codes + i / 2) >> shifts & 15));
  }
#endif
  for (; i + 1 < end; i += 2, out += 2) out[0] = kNf4[codes[i / 2] >> 4] * scale, out[1] = kNf4[codes[i / 2] & 15] * scale;
  if (i < end) *out = kNf4[codes[i / 2] >> 4] * scale;
}

void decodeInt8(const int8_t* codes, int64_t count, float scale, float* out) {
  for (int64_t i = 0; i < count; i++) out[i] = float(codes[i]) * scale;
}

}  // namespace GRAFT_ISA
}  // namespace graft
