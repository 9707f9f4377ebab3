// What codes of weights stand for, in bf16, eight at a time.
#pragma once

#include "../common/codes.h"
#include "coded.h"
#include "eight.cuh"

/** Made by all 256 threads of a block. What codes stand for is looked up in shared memory: lanes read different places of it. */
struct Nf4Codes {
  const uint8_t* memory;
  const float *shares, *values;
  const CodedParts& p;
  inline Nf4Codes(const uint8_t* codes, const CodedParts& parts) : memory(codes), p(parts) {
    SHARED(float, ofShares, 256);
    SHARED(float, ofCodes, 16);
    ofShares[threadIdx.x] = reinterpret_cast<const float*>(memory + p.dynamic)[threadIdx.x];
    if (threadIdx.x < 16) ofCodes[threadIdx.x] = graft::kNf4[threadIdx.x];
    __syncthreads();
    shares = ofShares, values = ofCodes;
  }
  /** From value `first` on, which 8 divides. */
  inline Eight at(Index first, Index) const {
    const Index block = first / graft::kCodedBlock;
    const float scale = shares[memory[p.shares + block]] * reinterpret_cast<const float*>(memory + p.scales)[block / graft::kCodedScales] + p.mean;
    const uint32_t codes = reinterpret_cast<const uint32_t*>(memory)[first / 8];
    float out[8];
#pragma unroll
    for (int i = 0; i < 8; i++) out[i] = values[codes >> (i / 2 * 8 + (i % 2 ? 0 : 4)) & 15] * scale;  // the first of a byte is in its upper half
    return eightOf(out);
  }
};

struct Int8Codes {
  const uint8_t* memory;
  const float* scales;
  inline Int8Codes(const uint8_t* codes, const CodedParts& p) : memory(codes), scales(reinterpret_cast<const float*>(codes + p.scales)) {}
  /** From value `first` on, which 8 divides, all of one row. */
  inline Eight at(Index first, Index row) const {
    struct alignas(8) Bytes { signed char x[8]; };
    const Bytes codes = *reinterpret_cast<const Bytes*>(memory + first);
    const float scale = scales[row];
    float out[8];
#pragma unroll
    for (int i = 0; i < 8; i++) out[i] = float(codes.x[i]) * scale;
    return eightOf(out);
  }
};
