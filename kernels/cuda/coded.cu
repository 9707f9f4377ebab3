// The values of coded weights in bf16, eight a thread.
#include "../common/codes.h"
#include "coded.h"
#include "device.cuh"

struct alignas(16) Eight { uint16_t x[8]; };

inline void storeEight(uint16_t* y, Index first, Index count, const Eight& values) {
  if (first + 8 <= count) {
    *reinterpret_cast<Eight*>(y + first) = values;
    return;
  }
  for (int i = 0; first + i < count; i++) y[first + i] = values.x[i];
}

/** What codes stand for is looked up in shared memory: lanes read different places of it. */
KERNEL(256, decodeNf4, const uint8_t* memory, uint16_t* y, CodedParts p) {
  SHARED(float, shares, 256);
  SHARED(float, values, 16);
  shares[threadIdx.x] = reinterpret_cast<const float*>(memory + p.dynamic)[threadIdx.x];
  if (threadIdx.x < 16) values[threadIdx.x] = graft::kNf4[threadIdx.x];
  __syncthreads();
  const Index first = threadNumber() * 8, block = first / graft::kCodedBlock;
  if (first >= p.count) return;
  const float scale = shares[memory[p.shares + block]] * reinterpret_cast<const float*>(memory + p.scales)[block / graft::kCodedScales] + p.mean;
  const uint32_t codes = reinterpret_cast<const uint32_t*>(memory)[first / 8];
  Eight out;
#pragma unroll
  for (int i = 0; i < 8; i++) out.x[i] = floatToBf16(values[codes >> (i / 2 * 8 + (i % 2 ? 0 : 4)) & 15] * scale);  // the first of a byte is in its upper half
  storeEight(y, first, p.count, out);
}

KERNEL(256, decodeInt8, const uint8_t* memory, uint16_t* y, CodedParts p) {
  const Index first = threadNumber() * 8;
  if (first >= p.count) return;
  const float* scales = reinterpret_cast<const float*>(memory + p.scales);
  Eight out = {};
  for (int i = 0; i < 8 && first + i < p.count; i++) out.x[i] = floatToBf16(float((signed char)(memory[first + i])) * scales[(first + i) / p.columns]);
  storeEight(y, first, p.count, out);
}
