// Coded weights on the GPU: their codes alone are kept there. Products read them as they are, or their values are made in bf16 for one product.
#include "../cpu/coded.h"

#include <cstring>

#include "blas.h"
#include "coded.h"
#include "graph.h"
#include "memory.h"
#include "tile-bf16.h"

namespace graft {
namespace cuda {
namespace {

Kernel decodeNf4("coded", "decodeNf4"), decodeInt8("coded", "decodeInt8");
Kernel nf4Along("gemm-bf16", "gemmNf4Along"), nf4Across("gemm-bf16", "gemmNf4Across"), int8Along("gemm-bf16", "gemmInt8Along"), int8Across("gemm-bf16", "gemmInt8Across");
Kernel nf4Rows[] = {{"coded-rows", "nf4Rows1"}, {"coded-rows", "nf4Rows2"}, {"coded-rows", "nf4Rows4"}, {"coded-rows", "nf4Rows8"}};
Kernel int8Rows[] = {{"coded-rows", "int8Rows1"}, {"coded-rows", "int8Rows2"}, {"coded-rows", "int8Rows4"}, {"coded-rows", "int8Rows8"}};

/**
 * Rows up to which codes are read by the product itself. Making the values first moves 4.5 bytes more a weight, which with more rows is
 * less than what cuBLASLt's products are faster by than ours.
 */
constexpr int64_t kDirectRows = 256;

constexpr int64_t aligned(int64_t bytes) { return (bytes + 15) & ~int64_t(15); }

CodedParts partsOf(const Coded& c) {
  const int64_t count = c.rows * c.columns, numbers = blocks(count, kCodedBlock);
  const bool nf4 = c.kind == Codes::Nf4;
  const int64_t shares = aligned(nf4 ? (count + 1) / 2 : count), scales = shares + aligned(nf4 ? numbers : 0);
  return {count, c.columns, shares, scales, scales + aligned((nf4 ? blocks(numbers, kCodedScales) : c.rows) * 4), c.mean, 0};
}

/** The codes' memory on the GPU; sent there once, and then gone from the host's. */
Pointer sent(Buffer& b, Coded& c, const CodedParts& p) {
  if (!b.mirror) {
    b.mirror = std::make_shared<Mirror>();
    b.mirror->onHost = true;
  }
  Mirror& m = *b.mirror;
  if (m.coded && m.codedOf == &c) {
    if (recording()) recording()->uses(b.mirror, m.coded, false);
    return m.coded;
  }
  notWhileRecording("a weight's first use");
  const Untraced once(true);
  m.forgetCodes();
  std::vector<uint8_t> all(size_t(p.dynamic + 256 * 4));
  std::memcpy(all.data(), c.codes.data(), c.codes.size());
  std::memcpy(all.data() + p.shares, c.shares.data(), c.shares.size());
  std::memcpy(all.data() + p.scales, c.scales.data(), c.scales.size() * 4);
  std::memcpy(all.data() + p.dynamic, dynamicShares(), 256 * 4);
  m.codedBytes = int64_t(all.size()), m.codedOf = &c, m.coded = allocate(m.codedBytes);
  graft::cuda::counters().weights += m.codedBytes;
  toDevice(m.coded, all.data(), m.codedBytes);
  m.forget();
  c.forget();
  return m.coded;
}

}  // namespace

bool multiplyCoded(Call& call, const Outputs& o, const Gemm& g, int64_t rows, int64_t columns) {
  Buffer& b = call.buffer(1);
  Coded* c = coded(b, rows, columns);
  if (!c || columns % 8 || g.columnA != 1 || g.m == 0 || g.k == 0 || (g.m > kDirectRows && blas())) return false;
  const CodedParts p = partsOf(*c);
  const bool nf4 = c->kind == Codes::Nf4, along = g.rowB == 1;
  const Pointer x = call.input(0), memory = sent(b, *c, p);
  Gemm direct = g;
  direct.vectors = vectorsOf(g, x, {});
  if (along && direct.vectors && g.m <= 8) {
    const int by = g.m <= 1 ? 0 : g.m <= 2 ? 1 : g.m <= 4 ? 2 : 3;
    launch((nf4 ? nf4Rows : int8Rows)[by], {blocks(g.n, 8)}, 256, 0, x, memory, o.c, o.add, o.bias, o.before, p, direct);
  } else {
    launch(along ? (nf4 ? nf4Along : int8Along) : nf4 ? nf4Across : int8Across, {blocks(g.n, kTileColumns), blocks(g.m, kTileRows)}, 256, 0, x, memory, o.c, o.add, o.bias, o.before, p, direct);
  }
  return true;
}

Pointer decoded(Call& call, int i, int64_t rows, int64_t columns) {
  Buffer& b = call.buffer(i);
  Coded* c = coded(b, rows, columns);
  if (!c) return {};
  const CodedParts p = partsOf(*c);
  const Pointer memory = sent(b, *c, p), y = call.temporary(p.count * 2);
  launch(c->kind == Codes::Nf4 ? decodeNf4 : decodeInt8, {blocks(p.count, 256 * 8)}, 256, 0, memory, y, p);
  return y;
}

}  // namespace cuda
}  // namespace graft

using namespace graft;
using namespace graft::cuda;

static Kernel widenKernel("convert", "widen");

/** decodeWeight(weight, out, rows, columns): the values of its codes, in bf16. */
GRAFT_CUDA(decodeWeight) {
  const int64_t n = elements({call.integer(2), call.integer(3)});
  const Pointer values = decoded(call, 0, call.integer(2), call.integer(3)), out = call.outF32(1, n);
  if (!values) fail("decodeWeight: it is not coded");
  launch(widenKernel, {blocks(n, 256)}, 256, 0, values, int(kBf16), out, Index(n));
}
