// The values of coded weights in bf16, eight a thread.
#include "coded.cuh"

inline void storeEight(uint16_t* y, Index first, Index count, const Eight& values) {
  if (first + 8 <= count) {
    *reinterpret_cast<Eight*>(y + first) = values;
    return;
  }
  for (int i = 0; first + i < count; i++) y[first + i] = uint16_t(values.pairs[i / 2] >> i % 2 * 16);
}

KERNEL(256, decodeNf4, const uint8_t* memory, uint16_t* y, CodedParts p) {
  const Nf4Codes codes(memory, p);
  const Index first = threadNumber() * 8;
  if (first < p.count) storeEight(y, first, p.count, codes.at(first, 0));
}

/** Rows begin anywhere here. */
KERNEL(256, decodeInt8, const uint8_t* memory, uint16_t* y, CodedParts p) {
  const Index first = threadNumber() * 8;
  if (first >= p.count) return;
  const float* scales = reinterpret_cast<const float*>(memory + p.scales);
  float out[8] = {};
  for (int i = 0; i < 8 && first + i < p.count; i++) out[i] = float((signed char)(memory[first + i])) * scales[(first + i) / p.columns];
  storeEight(y, first, p.count, eightOf(out));
}
