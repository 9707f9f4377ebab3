#include "reduce.h"

#include <algorithm>
#include <cmath>

#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel foldRows("reduce", "foldRows"), foldInner("reduce", "foldInner"), finish("reduce", "finish"), fillKernel("convert", "fill"),
    argBest("reduce", "argBest"), cumulate("reduce", "cumulate");

static unsigned threadsFor(int64_t n) { return n <= 64 ? 32 : n <= 512 ? 128 : 256; }

/** reduce(reduction, x, y, outer, axis, inner, scale) */
GRAFT_CUDA(reduce) {
  const int op = int(call.integer(0));
  const int64_t outer = call.integer(3), axis = call.integer(4), inner = call.integer(5), n = elements({outer, inner});
  if (op < kSum || op > kSome) fail("reduce: no reduction %d", op);
  if (call.count(1) != elements({outer, axis, inner}) || call.count(2) != n || call.buffer(2).frozen()) fail("reduce: the shapes do not fit");
  const Pointer x = call.input(1), y = call.output(2, n);
  const int from = int(call.storage(1)), to = int(call.storage(2));
  if (axis == 0) return launch(fillKernel, {blocks(n, 256)}, 256, 0, y, to, op == kSum ? 0.0 : op == kProd ? 1.0 : double(NAN), Index(n));
  const double identity = op == kMax ? -INFINITY : op == kMin ? INFINITY : op == kProd || op == kEvery ? 1 : 0;
  // Few outputs of long axes: several blocks share one. What they share depends on the shape alone, so that sums are always the same.
  const int64_t busy = inner == 1 ? outer : outer * blocks(inner, 32), most = inner == 1 ? axis / 4096 : axis / 64;
  const int64_t chunks = std::max<int64_t>(1, std::min<int64_t>({256, most, 2048 / std::max<int64_t>(1, busy)})), perChunk = blocks(axis, chunks);
  const Pointer partial = call.temporary(n * chunks * 8);
  if (inner == 1) launch(foldRows, {outer, chunks}, threadsFor(perChunk), 0, op, x, from, Index(axis), Index(perChunk), identity, partial);
  else
    for (int64_t first = 0; first < outer; first += 65535)
      launch(foldInner, {blocks(inner, 32), chunks, std::min<int64_t>(65535, outer - first)}, 256, 0, op, x, from, Index(axis), Index(inner), Index(perChunk), identity, partial, Index(first));
  launch(finish, {blocks(n, 256)}, 256, 0, op, partial, y, to, Index(chunks), Index(inner), to == kF32 ? call.number(6) : 1.0, Index(n));
}

/** argBest(largest, x, y int32, outer, axis, inner) */
GRAFT_CUDA(argBest) {
  const int64_t outer = call.integer(3), axis = call.integer(4), inner = call.integer(5), n = elements({outer, inner});
  const Pointer x = call.f32(1, elements({outer, axis, inner})), y = call.outI32(2, n);
  if (axis == 0) return launch(fillKernel, {blocks(n, 256)}, 256, 0, y, int(kI32), 0.0, Index(n));
  launch(argBest, {n}, threadsFor(axis), 0, int(call.flag(0)), x, y, Index(axis), Index(inner));
}

/** cumulate(product, x, y, outer, axis, inner, exclusive, reverse) */
GRAFT_CUDA(cumulate) {
  const int64_t outer = call.integer(3), axis = call.integer(4), inner = call.integer(5), lines = elements({outer, inner}), n = elements({outer, axis, inner});
  if (call.count(1) != n) fail("cumulate: the shapes do not fit");
  const Pointer x = call.input(1), y = call.output(2, n);
  launch(cumulate, {blocks(lines, 256)}, 256, 0, int(call.flag(0)), x, y, int(call.storage(1)), int(call.storage(2)), Index(axis), Index(inner), int(call.flag(6)),
         int(call.flag(7)), Index(lines));
}
