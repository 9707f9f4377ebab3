#include "../cpu/gather.h"

#include <algorithm>
#include <numeric>

#include "graph.h"
#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel gatherKernel("gather", "gather"), gatherRows("gather", "gatherRows"), addRowsKernel("gather", "addRows"), putRowsKernel("gather", "putRows"),
    oneHotKernel("gather", "oneHot"), fillKernel("convert", "fill");

static Pointer sent(Call& call, const std::vector<Index>& values) { return call.sent(values.data(), int64_t(values.size() * sizeof(Index))); }

static Pointer outputLike(Call& call, int i, int x, int64_t n) {
  const bool fits = call.isFloat(x) ? call.storage(i) == Storage::F32 : call.storage(i) == call.storage(x);
  if (!fits) fail("argument %d does not fit the result", i);
  return call.output(i, n);
}

/** gather(x, indices, y, batch, outer, axis, inner, count) */
GRAFT_CUDA(gather) {
  const int64_t batch = call.integer(3), outer = call.integer(4), axis = call.integer(5), inner = call.integer(6), count = call.integer(7);
  const int64_t n = elements({batch, outer, count, inner});
  if (call.count(0) != elements({batch, outer, axis, inner}) || call.count(1) != elements({batch, count})) fail("gather: the shapes do not fit");
  const Pointer x = call.input(0), indices = call.i32(1), y = outputLike(call, 2, 0, n);
  if (!recording()) checkIndices(call.hostI32(1), batch * count, axis);  // what is recorded runs on other indices
  launch(gatherKernel, {blocks(n, 256)}, 256, 0, x, int(call.storage(0)), indices, y, int(sizeOf(call.storage(2))), Index(outer), Index(axis), Index(inner), Index(count), Index(n));
}

/** gatherNd(x, indices, y, strides in rows, row size, count, text of x's shape) */
GRAFT_CUDA(gatherNd) {
  const int64_t inner = call.integer(4), count = call.integer(5), n = elements({count, inner});
  const Pointer x = call.input(0), y = outputLike(call, 2, 0, n);
  const auto rows = rowsOf(call, count, call.ints(3), inner ? call.count(0) / inner : 0, call.text(6).c_str());
  launch(gatherRows, {blocks(n, 256)}, 256, 0, x, int(call.storage(0)), sent(call, {rows.begin(), rows.end()}), y, int(call.storage(2)), Index(inner), Index(n));
}

/** y (cleared) [rows[i]] += x[i]; rows below zero are left out. Rows that go to one place are added in their order. */
static void addRows(Call& call, const std::vector<int64_t>& rows, int64_t inner) {
  const int64_t n = call.count(2);
  const Pointer x = call.input(0), y = outputLike(call, 2, 0, n);
  launch(fillKernel, {blocks(n, 256)}, 256, 0, y, int(call.storage(2)), 0.0, Index(n));
  std::vector<Index> order(rows.size()), targets, starts;
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return rows[size_t(a)] < rows[size_t(b)]; });
  order.erase(order.begin(), std::find_if(order.begin(), order.end(), [&](Index i) { return rows[size_t(i)] >= 0; }));
  for (size_t k = 0; k < order.size(); k++) {
    const Index target = rows[size_t(order[k])];
    if (targets.empty() || targets.back() != target) targets.push_back(target), starts.push_back(Index(k));
  }
  if (targets.empty()) return;
  starts.push_back(Index(order.size()));
  launch(addRowsKernel, {int64_t(targets.size())}, inner <= 64 ? 32 : 256, 0, x, int(call.storage(0)), y, int(call.storage(2)), sent(call, targets), sent(call, starts),
         sent(call, order), Index(inner));
}

/** scatterNd(updates, indices, y, strides in rows, row size, count, text of y's shape) */
GRAFT_CUDA(scatterNd) {
  const int64_t inner = call.integer(4), count = call.integer(5);
  if (call.count(2) == 0) return;
  if (call.count(0) != elements({count, inner}) || inner == 0) fail("scatterNd: the shapes do not fit");
  addRows(call, rowsOf(call, count, call.ints(3), call.count(2) / inner, call.text(6).c_str()), inner);
}

/** segmentSum(x, ids, y, segments, row size) */
GRAFT_CUDA(segmentSum) {
  const int64_t segments = call.integer(3), inner = call.integer(4), count = call.count(1);
  if (call.count(0) != elements({count, inner}) || call.count(2) != elements({segments, inner})) fail("segmentSum: the shapes do not fit");
  const int32_t* ids = call.hostI32(1);
  std::vector<int64_t> rows(ids, ids + count);
  for (int64_t& row : rows)
    if (row >= segments) row = -1;
  addRows(call, rows, inner);
}

/** oneHot(indices, y, depth, on, off) */
GRAFT_CUDA(oneHot) {
  const int64_t depth = call.integer(2), n = elements({call.count(0), depth});
  launch(oneHotKernel, {blocks(n, 256)}, 256, 0, call.i32(0), call.output(1, n), int(call.storage(1)), Index(depth), call.number(3), call.number(4), Index(n));
}

/** putRows(into, rows, width, lengths, to) */
GRAFT_CUDA(putRows) {
  const int64_t width = call.integer(2), room = call.count(0) / std::max<int64_t>(1, width);
  const std::vector<int64_t> lengths = call.ints(3), to = call.ints(4);
  if (lengths.size() != to.size()) fail("putRows: %zu lengths and %zu places", lengths.size(), to.size());
  std::vector<Index> rows;
  for (size_t i = 0; i < to.size(); i++) {
    if (lengths[i] < 0 || to[i] < 0 || to[i] > room - lengths[i]) fail("putRows: rows %lld and %lld more do not fit into %lld", static_cast<long long>(to[i]), static_cast<long long>(lengths[i]), static_cast<long long>(room));
    for (int64_t r = 0; r < lengths[i]; r++) rows.push_back(to[i] + r);
  }
  const int64_t n = elements({int64_t(rows.size()), width});
  const Pointer x = call.f32(1, n), into = call.outF32(0, elements({room, width}));
  launch(putRowsKernel, {blocks(n, 256)}, 256, 0, x, sent(call, rows), into, Index(width), Index(n));
}
