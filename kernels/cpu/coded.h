// Frozen weights of matrix products as codes of 8 or 4 bits, from which values are made where a product reads them.
#pragma once

#include <vector>

#include "../common/codes.h"
#include "core.h"

namespace graft {

/** None: as they are stored. */
enum class Codes : int { None = 0, Int8 = 1, Nf4 = 2 };

/**
 * A matrix [rows, columns]. Int8 (Dettmers et al., 2022): rounded multiples of each row's largest magnitude / 127. NF4 with double
 * quantisation (Dettmers et al., 2023): of 64 values in their order in memory the largest magnitude, and for each its nearest share of
 * that among the 16 of kNf4; these magnitudes less their mean in turn as one of kDynamic's shares of the largest of 256.
 */
struct Coded {
  Codes kind = Codes::None;
  int64_t rows = 0, columns = 0;
  std::vector<uint8_t> codes;   // Int8: one a value; NF4: two a byte, the first in its upper half
  std::vector<uint8_t> shares;  // NF4: of each block, as a number of kDynamic
  std::vector<float> scales;    // Int8: of each row; NF4: of 256 blocks each
  float mean = 0;               // NF4: of the blocks' magnitudes
  /** Gives the host's copy up, once a GPU has one. */
  void forget();
  int64_t bytes() const { return int64_t(codes.size() + shares.size() + scales.size() * 4); }
  ~Coded();
};

/** The codes of a frozen matrix as weights are coded now, made when first asked for; null where they are not, or it is not frozen. */
Coded* coded(Buffer& b, int64_t rows, int64_t columns);

/** The 256 shares that magnitudes of blocks are coded by, ascending. */
const float* dynamicShares();

/** Will soon be decoded. */
inline void prefetch(const Coded& c, int64_t row, int64_t column) {
  const int64_t at = row * c.columns + column;
  if (at >= c.rows * c.columns) return;
  __builtin_prefetch(&c.codes[size_t(c.kind == Codes::Nf4 ? at / 2 : at)]);
  if (c.kind == Codes::Nf4) __builtin_prefetch(&c.shares[size_t(at / kCodedBlock)]);
}

/** `count` values of a row. */
void decode(const Coded& c, int64_t row, int64_t column, int64_t count, float* out);

}  // namespace graft
