// Exports of linalg.isa.cc for typed arrays: sizes checked, rows or columns shared among threads where they do not depend on each other.
#include "linalg.h"

#include <algorithm>

#include "core.h"

namespace graft {
namespace {

/** Argument i: the memory of a typed array of at least n elements of type T. */
template <class T>
T* array(const Args& args, int i, int64_t n) {
  int64_t bytes = 0;
  void* data = args.typedArray(i, bytes);
  if (n < 0 || bytes / int64_t(sizeof(T)) < n) fail("argument %d is shorter than %lld values", i, static_cast<long long>(n));
  return static_cast<T*>(data);
}

int64_t atLeast(const Args& args, int i, int64_t low) {
  const int64_t n = args.integer(i);
  if (n < low) fail("argument %d is %lld, below %lld", i, static_cast<long long>(n), static_cast<long long>(low));
  return n;
}

}  // namespace
}  // namespace graft

/** reflectRows(M, r0, r1, n, V, first, last, backward, shift, triangular) */
GRAFT_EXPORT(reflectRows) {
  using namespace graft;
  const int64_t r0 = atLeast(args, 1, 0), r1 = args.integer(2), n = atLeast(args, 3, 0), first = atLeast(args, 5, 0), last = args.integer(6);
  auto* M = array<double>(args, 0, elements({std::max<int64_t>(0, r1), n}));
  const auto* V = array<double>(args, 4, elements({std::max<int64_t>(0, last), n}));
  const bool backward = args.flag(7), triangular = args.flag(9);
  const int64_t shift = args.integer(8);
  if (first + shift < 0) fail("reflectRows: reflectors before the first column");
  parallelFor(r1 - r0, 8, [&](int64_t begin, int64_t end) { reflectRows(M, r0 + begin, r0 + end, n, V, first, last, backward, shift, triangular); });
}

/** rotateRows(M, n, p, q, c, s, count) */
GRAFT_EXPORT(rotateRows) {
  using namespace graft;
  const int64_t n = atLeast(args, 1, 1), count = atLeast(args, 6, 0);
  const auto *p = array<int32_t>(args, 2, count), *q = array<int32_t>(args, 3, count);
  const auto *c = array<double>(args, 4, count), *s = array<double>(args, 5, count);
  int64_t rows = 0;
  for (int64_t i = 0; i < count; i++) {
    if (p[i] < 0 || q[i] < 0) fail("rotateRows: a negative row");
    rows = std::max<int64_t>(rows, std::max(p[i], q[i]) + 1);
  }
  auto* M = array<double>(args, 0, elements({rows, n}));
  constexpr int64_t kStrip = 64;  // columns that stay in cache for all rotations
  parallelFor((n + kStrip - 1) / kStrip, 1, [&](int64_t begin, int64_t end) {
    for (int64_t strip = begin; strip < end; strip++) rotateColumns(M, n, p, q, c, s, count, strip * kStrip, std::min(n, (strip + 1) * kStrip));
  });
}

/** bidiagonalise(a, n, d, e, left, right) */
GRAFT_EXPORT(bidiagonalise) {
  using namespace graft;
  Scratch scratch;
  const int64_t n = atLeast(args, 1, 1);
  bidiagonalise(array<double>(args, 0, elements({n, n})), n, array<double>(args, 2, n), array<double>(args, 3, n), array<double>(args, 4, elements({n, n})),
                array<double>(args, 5, elements({n, n})), static_cast<double*>(scratch.bytes(n * 8)));
}

/** tridiagonalise(a, n, d, e, reflectors) */
GRAFT_EXPORT(tridiagonalise) {
  using namespace graft;
  Scratch scratch;
  const int64_t n = atLeast(args, 1, 1);
  tridiagonalise(array<double>(args, 0, elements({n, n})), n, array<double>(args, 2, n), array<double>(args, 3, n), array<double>(args, 4, elements({n, n})),
                 static_cast<double*>(scratch.bytes(n * 8)));
}

/** doubleMatMul(a, single, b, c, m, k, n, transposeA): a float32 where `single`; all else float64. */
GRAFT_EXPORT(doubleMatMul) {
  using namespace graft;
  const bool single = args.flag(1), transposed = args.flag(7);
  const int64_t m = atLeast(args, 4, 1), k = atLeast(args, 5, 1), n = atLeast(args, 6, 1), P = panelColumns();
  const void* a = single ? static_cast<const void*>(array<float>(args, 0, elements({m, k}))) : array<double>(args, 0, elements({m, k}));
  const auto* b = array<double>(args, 2, elements({k, n}));
  auto* c = array<double>(args, 3, elements({m, n}));
  Scratch scratch;
  auto* panel = static_cast<double*>(scratch.bytes(k * P * 8));
  for (int64_t j = 0; j < n; j += P) {
    const int64_t columns = std::min(P, n - j);
    for (int64_t p = 0; p < k; p++)
      for (int64_t i = 0; i < P; i++) panel[p * P + i] = i < columns ? b[p * n + j + i] : 0;
    parallelFor(m, 48, [&](int64_t begin, int64_t end) {
      multiplyPanel(a, single, transposed ? 1 : k, transposed ? m : 1, panel, begin, end, k, columns, c + j, n);
    });
  }
}
