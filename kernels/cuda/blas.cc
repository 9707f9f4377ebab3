#include "blas.h"

#include "offload.h"

#include <algorithm>
#include <array>
#include <map>

#include "graph.h"

namespace graft {
namespace cuda {
namespace {

Precision chosen = Precision::Single;
Kernel widen("convert", "widen"), narrow("convert", "narrow"), unary("elementwise", "unaryFloat");

constexpr int64_t kWorkspace = 32 << 20;

Handle library() {
  static const Handle handle = [] {
    Handle h = nullptr;
    if (blas()->cublasLtCreate(&h) != 0) fail("cuda: cuBLASLt did not start");
    return h;
  }();
  return handle;
}

Pointer workspace() {
  static const Pointer p = allocate(kWorkspace);
  return p;
}

int typeOf(int storage) { return storage == kF32 ? kReal32 : storage == kF16 ? kReal16 : kRealBf16; }
int64_t sizeOfType(int storage) { return storage == kF32 ? 4 : 2; }

/** The largest power of two up to 256 that divides all of these. */
int64_t alignment(std::initializer_list<int64_t> of) {
  int64_t bits = 256;
  for (const int64_t n : of) bits |= n;
  return bits & -bits;
}

/** What a product needs besides its operands, found once for each kind of it. */
struct Plan {
  Handle operation = nullptr, a = nullptr, b = nullptr, c = nullptr;
  Algorithm algorithm = {};
  bool found = false;
};

/**
 * cuBLAS stores columns first: C as it reads it is our Cᵀ = Bᵀ Aᵀ, so B is its first operand. `sides`: alignment in bytes of B, A, what is
 * added, and C.
 */
Plan makePlan(const Gemm& g, const Batch& batch, bool bias, const std::array<int64_t, 4>& sides) {
  const Blas& l = *blas();
  Plan p;
  const bool transposeA = g.columnA != 1 || (g.rowA == 1 && g.k != 1), transposeB = g.columnB != 1 || (g.rowB == 1 && g.n != 1);
  const auto set = [](int status) { if (status != 0) fail("cuda: cuBLASLt refuses a product"); };
  set(l.cublasLtMatmulDescCreate(&p.operation, chosen == Precision::Tf32 ? kComputeTf32 : kCompute32, kReal32));
  const int32_t first = transposeB, second = transposeA, epilogue = bias ? kAddBias : kNoEpilogue;
  set(l.cublasLtMatmulDescSetAttribute(p.operation, kTransposeA, &first, sizeof first));
  set(l.cublasLtMatmulDescSetAttribute(p.operation, kTransposeB, &second, sizeof second));
  set(l.cublasLtMatmulDescSetAttribute(p.operation, kEpilogue, &epilogue, sizeof epilogue));
  set(l.cublasLtMatrixLayoutCreate(&p.b, typeOf(g.storageB), uint64_t(transposeB ? g.k : g.n), uint64_t(transposeB ? g.n : g.k), transposeB ? g.k : g.n));
  set(l.cublasLtMatrixLayoutCreate(&p.a, typeOf(g.storageA), uint64_t(transposeA ? g.m : g.k), uint64_t(transposeA ? g.k : g.m), transposeA ? g.m : g.k));
  set(l.cublasLtMatrixLayoutCreate(&p.c, kReal32, uint64_t(g.n), uint64_t(g.m), g.n));
  if (batch.count > 1) {
    const auto count = int32_t(batch.count);
    const std::pair<Handle, int64_t> steps[] = {{p.b, batch.stepB}, {p.a, batch.stepA}, {p.c, g.m * g.n}};
    for (const auto& [layout, step] : steps) {
      set(l.cublasLtMatrixLayoutSetAttribute(layout, kBatchCount, &count, sizeof count));
      set(l.cublasLtMatrixLayoutSetAttribute(layout, kBatchStep, &step, sizeof step));
    }
  }
  Handle preference = nullptr;
  set(l.cublasLtMatmulPreferenceCreate(&preference));
  const auto most = uint64_t(kWorkspace);
  set(l.cublasLtMatmulPreferenceSetAttribute(preference, kMostWorkspace, &most, sizeof most));
  for (int i = 0; i < 4; i++) {
    const auto bytes = uint32_t(sides[size_t(i)]);
    set(l.cublasLtMatmulPreferenceSetAttribute(preference, kAlignmentA + i, &bytes, sizeof bytes));
  }
  Heuristic best = {};
  int results = 0;
  p.found = l.cublasLtMatmulAlgoGetHeuristic(library(), p.operation, p.b, p.a, p.c, p.c, preference, 1, &best, &results) == 0 && results == 1;
  p.algorithm = best.algorithm;
  l.cublasLtMatmulPreferenceDestroy(preference);
  return p;
}

Plan& planFor(const Gemm& g, const Batch& batch, bool bias, const std::array<int64_t, 4>& sides) {
  static std::map<std::array<int64_t, 18>, Plan> plans;
  const std::array<int64_t, 18> key = {g.m, g.n, g.k, g.rowA, g.columnA, g.rowB, g.columnB, g.storageA, g.storageB, batch.count, batch.stepA, batch.stepB, bias, int64_t(chosen),
                                       sides[0], sides[1], sides[2], sides[3]};
  const auto known = plans.find(key);
  return known != plans.end() ? known->second : plans.emplace(key, makePlan(g, batch, bias, sides)).first->second;
}

void convert(Pointer x, int storage, Pointer y, int wanted, int64_t n) {
  if (wanted == kF32) launch(widen, {blocks(n, 256)}, 256, 0, x, storage, y, Index(n));
  else launch(narrow, {blocks(n, 256)}, 256, 0, x, storage, y, Index(n));
}

/** Argument i in the storage the product is formed in: in place, or converted into memory of this call. */
Pointer converted(Call& call, int i, int& storage, int wanted) {
  Buffer& b = call.buffer(i);
  const int own = storage;
  storage = wanted;
  if (own == wanted) return toDevice(b, false);
  if (b.frozen() && own == kF32 && !offloaded(b)) return keptInBf16(b, [&](Pointer wide, Pointer to) { convert(wide, kF32, to, kBf16, b.count); });
  const Pointer y = call.temporary(b.count * sizeOfType(wanted));
  convert(toDevice(b, false), own, y, wanted, b.count);
  return y;
}

}  // namespace

Precision precision() { return chosen; }

Pointer keptInBf16(Buffer& b, const std::function<void(Pointer, Pointer)>& make) {
  if (!b.mirror || !b.mirror->narrowed) {
    notWhileRecording("a weight's first use");
    const Untraced once(true);
    const Pointer own = toDevice(b, false);
    Mirror& m = *b.mirror;
    m.narrowedBytes = b.count * 2;
    m.narrowed = allocate(m.narrowedBytes);
    counters().weights += m.narrowedBytes;
    make(own, m.narrowed);
    m.forget();
  }
  if (recording()) recording()->uses(b.mirror, b.mirror->narrowed, false);
  return b.mirror->narrowed;
}

bool multiplyByBlas(Call& call, const Outputs& o, const Batch& batch, const Gemm& asked, const Operands& operands) {
  if (!blas() || asked.m == 0 || asked.n == 0 || asked.k == 0) return false;
  Gemm g = asked;
  const int wanted = g.narrow ? kBf16 : g.storageA == g.storageB ? g.storageA : kF32;
  const Pointer a = converted(call, operands.a, g.storageA, wanted).plus(batch.firstA * sizeOfType(wanted));
  const Pointer b = (operands.given ? operands.given : converted(call, operands.b, g.storageB, wanted)).plus(batch.firstB * sizeOfType(wanted));
  const Pointer raw = o.before ? o.before : o.c, add = o.add ? o.add : raw;
  const auto at = [](Pointer p) { return int64_t(p.address); };
  const std::array<int64_t, 4> sides = {alignment({at(b), batch.stepB * sizeOfType(wanted)}), alignment({at(a), batch.stepA * sizeOfType(wanted)}),
                                        alignment({at(add), batch.count > 1 ? g.m * g.n * 4 : 0}), alignment({at(raw), batch.count > 1 ? g.m * g.n * 4 : 0})};
  Plan& plan = planFor(g, batch, bool(o.bias), sides);
  if (!plan.found) return false;
  if (o.bias && blas()->cublasLtMatmulDescSetAttribute(plan.operation, kBiasPointer, &o.bias.address, sizeof o.bias.address) != 0) return false;
  const float beta = o.add ? 1 : 0;
  trace(&g, sizeof g);
  const int status = blas()->cublasLtMatmul(library(), plan.operation, &g.alpha, b.address, plan.b, a.address, plan.a, &beta, add.address, plan.c, raw.address, plan.c,
                                            &plan.algorithm, workspace().address, size_t(kWorkspace), device().stream);
  if (status != 0) fail("cuda: cuBLASLt: a product of %lld x %lld x %lld ended with status %d", static_cast<long long>(g.m), static_cast<long long>(g.n), static_cast<long long>(g.k), status);
  if (g.activation >= 0) launch(unary, {blocks(g.m * g.n, 256)}, 256, 0, g.activation, raw, int(kF32), o.c, Index(g.m * g.n), 0.f, 0.f);
  return true;
}

}  // namespace cuda
}  // namespace graft

using namespace graft;

/** cuda:precision(code of Precision): of matrix products from now on. */
GRAFT_EXPORT_AS("cuda:precision", cudaPrecision) {
  const int64_t code = args.integer(0);
  if (code < 0 || code > 2) fail("cuda:precision: 0 to 2");
  cuda::chosen = cuda::Precision(code);
}

/** cuda:blas(): whether cuBLASLt was found. */
GRAFT_EXPORT_AS("cuda:blas", cudaBlas) { args.returns(cuda::blas() != nullptr); }
