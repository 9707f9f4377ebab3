#include "gemm.h"

#include <algorithm>

#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel gemmKernel("gemm", "gemm");

struct Outputs { Pointer c, add, bias, before; };

static void multiply(Pointer a, Pointer b, const Outputs& o, Pointer pairs, int64_t matrices, const Gemm& g) {
  for (int64_t first = 0; first < matrices; first += 65535)
    launch(gemmKernel, {blocks(g.n, kTile), blocks(g.m, kTile), std::min<int64_t>(65535, matrices - first)}, 256, 0, a, b, o.c, o.add, o.bias, o.before, pairs, Index(first), g);
}

static Gemm gemm(Call& call, int64_t m, int64_t n, int64_t k, bool transposeA, bool transposeB) {
  if (!call.isFloat(0) || !call.isFloat(1)) fail("matrix product: operands must be floats");
  elements({m, n, k});
  return {m, n, k, transposeA ? 1 : k, transposeA ? m : 1, transposeB ? 1 : n, transposeB ? k : 1, m * k, k * n, int(call.storage(0)), int(call.storage(1)), -1, 1};
}

static void mustHold(Call& call, int i, int64_t matrix, int64_t size) {
  if (matrix < 0 || elements({matrix + 1, size}) > call.count(i)) fail("matrix product: matrix %lld is beyond its operand", static_cast<long long>(matrix));
}

/** batchMatMul(a, b, out, m, n, k, transposeA, transposeB, offsets) */
GRAFT_CUDA(batchMatMul) {
  const int64_t m = call.integer(3), n = call.integer(4), k = call.integer(5);
  const Gemm g = gemm(call, m, n, k, call.flag(6), call.flag(7));
  const auto pairs = call.ints(8);
  if (pairs.size() % 2) fail("matrix product: pairs of matrices");
  const int64_t count = int64_t(pairs.size() / 2);
  for (size_t i = 0; i < pairs.size(); i++) mustHold(call, i % 2, pairs[i], i % 2 ? g.sizeB : g.sizeA);
  const Pointer a = call.input(0), b = call.input(1), c = call.outF32(2, elements({count, m, n}));
  multiply(a, b, {c, {}, {}, {}}, call.sent(pairs.data(), int64_t(pairs.size() * sizeof(Index))), count, g);
}

/** product(a, b, out, m, n, k, transposeA, transposeB, alpha, add, bias, activation, before) */
GRAFT_CUDA(product) {
  const int64_t m = call.integer(3), n = call.integer(4), k = call.integer(5);
  Gemm g = gemm(call, m, n, k, call.flag(6), call.flag(7));
  g.alpha = float(call.number(8));
  g.activation = int(call.integer(11));
  mustHold(call, 0, 0, g.sizeA);
  mustHold(call, 1, 0, g.sizeB);
  const Pointer a = call.input(0), b = call.input(1), add = call.f32OrNull(9, m * n), bias = call.f32OrNull(10, n);
  const Pointer before = call.none(12) ? Pointer() : call.outF32(12, m * n);
  multiply(a, b, {call.outF32(2, m * n), add, bias, before}, {}, 1, g);
}
