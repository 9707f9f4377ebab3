#include "blas.h"
#include "tile-bf16.h"

#include <algorithm>

using namespace graft;
using namespace graft::cuda;

static Kernel gemmKernel("gemm", "gemm"), alongBf16("gemm-bf16", "gemmBf16Along"), acrossBf16("gemm-bf16", "gemmBf16Across");

int cuda::vectorsOf(const Gemm& g, Pointer a, Pointer b) {
  const auto divides = [](Pointer p, int storage, int64_t step) { return p && (int64_t(p.address) | step * (storage == kF32 ? 4 : 2)) % 16 == 0; };
  const bool alongB = g.rowB == 1;
  return (g.columnA == 1 && divides(a, g.storageA, g.rowA) ? 1 : 0) | ((alongB || g.columnB == 1) && divides(b, g.storageB, alongB ? g.columnB : g.rowB) ? 2 : 0);
}

/** Operands rounded to bf16, on the tensor cores. */
static void multiplyNarrow(Pointer a, Pointer b, const Outputs& o, Gemm g) {
  g.vectors = vectorsOf(g, a, b);
  launch(g.rowB == 1 ? alongBf16 : acrossBf16, {blocks(g.n, kTileColumns), blocks(g.m, kTileRows)}, 256, 0, a, b, o.c, o.add, o.bias, o.before, g);
}

static void multiply(Pointer a, Pointer b, const Outputs& o, Pointer pairs, int64_t matrices, const Gemm& g) {
  for (int64_t first = 0; first < matrices; first += 65535)
    launch(gemmKernel, {blocks(g.n, kTile), blocks(g.m, kTile), std::min<int64_t>(65535, matrices - first)}, 256, 0, a, b, o.c, o.add, o.bias, o.before, pairs, Index(first), g);
}

static Gemm gemm(Call& call, int64_t m, int64_t n, int64_t k, bool transposeA, bool transposeB) {
  if (!call.isFloat(0) || !call.isFloat(1)) fail("matrix product: operands must be floats");
  elements({m, n, k});
  return {m, n, k, transposeA ? 1 : k, transposeA ? m : 1, transposeB ? 1 : n, transposeB ? k : 1, m * k, k * n, int(call.storage(0)), int(call.storage(1)), -1, 0, 1, 0};
}

static void mustHold(Call& call, int i, int64_t matrix, int64_t size) {
  if (matrix < 0 || elements({matrix + 1, size}) > call.count(i)) fail("matrix product: matrix %lld is beyond its operand", static_cast<long long>(matrix));
}

/** Pairs that go up in equal steps, as one batch; a count of 0 where they do not. */
static Batch inSteps(const std::vector<int64_t>& pairs, const Gemm& g) {
  const auto n = int64_t(pairs.size() / 2);
  if (n == 0) return {0, 0, 0, 0, 0};
  const int64_t stepA = n > 1 ? pairs[2] - pairs[0] : 0, stepB = n > 1 ? pairs[3] - pairs[1] : 0;
  for (int64_t i = 1; i < n; i++)
    if (pairs[size_t(2 * i)] != pairs[0] + i * stepA || pairs[size_t(2 * i + 1)] != pairs[1] + i * stepB) return {0, 0, 0, 0, 0};
  if (stepA < 0 || stepB < 0 || n > INT32_MAX) return {0, 0, 0, 0, 0};
  return {n, pairs[0] * g.sizeA, stepA * g.sizeA, pairs[1] * g.sizeB, stepB * g.sizeB};
}

/** batchMatMul(a, b, out, m, n, k, transposeA, transposeB, offsets) */
GRAFT_CUDA(batchMatMul) {
  const int64_t m = call.integer(3), n = call.integer(4), k = call.integer(5);
  const Gemm g = gemm(call, m, n, k, call.flag(6), call.flag(7));
  const auto pairs = call.ints(8);
  if (pairs.size() % 2) fail("matrix product: pairs of matrices");
  const int64_t count = int64_t(pairs.size() / 2);
  for (size_t i = 0; i < pairs.size(); i++) mustHold(call, i % 2, pairs[i], i % 2 ? g.sizeB : g.sizeA);
  const Pointer c = call.outF32(2, elements({count, m, n}));
  if (const Batch batch = inSteps(pairs, g); batch.count && multiplyByBlas(call, {c, {}, {}, {}}, batch, g)) return;
  multiply(call.input(0), call.input(1), {c, {}, {}, {}}, call.sent(pairs.data(), int64_t(pairs.size() * sizeof(Index))), count, g);
}

/** product(a, b, out, m, n, k, transposeA, transposeB, alpha, add, bias, activation, before, coded) */
GRAFT_CUDA(product) {
  const int64_t m = call.integer(3), n = call.integer(4), k = call.integer(5);
  Gemm g = gemm(call, m, n, k, call.flag(6), call.flag(7));
  g.alpha = float(call.number(8));
  g.narrow = precision() == Precision::Bf16 && (call.buffer(0).frozen() || call.buffer(1).frozen());
  g.activation = int(call.integer(11));
  mustHold(call, 0, 0, g.sizeA);
  mustHold(call, 1, 0, g.sizeB);
  const Pointer add = call.f32OrNull(9, m * n), bias = call.f32OrNull(10, n);
  const Pointer before = call.none(12) ? Pointer() : call.outF32(12, m * n);
  const Outputs o = {call.outF32(2, m * n), add, bias, before};
  const int64_t rows = call.flag(7) ? n : k, columns = call.flag(7) ? k : n;
  if (call.flag(13) && multiplyCoded(call, o, g, rows, columns)) return;
  const Pointer given = call.flag(13) ? decoded(call, 1, rows, columns) : Pointer();
  if (given) g.storageB = kBf16;
  if (multiplyByBlas(call, o, {}, g, {0, 1, given})) return;
  const Pointer a = call.input(0), b = given ? given : call.input(1);
  if (g.narrow) multiplyNarrow(a, b, o, g);
  else multiply(a, b, o, {}, 1, g);
}
