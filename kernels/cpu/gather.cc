// Reading and adding rows at indices, and the kernels that make or find indices.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "convert.h"
#include "core.h"
#include "elementwise.h"
#include "gather.h"
#include "scalar.h"

namespace graft {
namespace {

/** `n` elements of x at `from` into y at `to`; narrow floats become float32. */
void copyRow(const Buffer& x, int64_t from, Buffer& y, int64_t to, int64_t n) {
  const int64_t size = sizeOf(y.storage);
  char* out = static_cast<char*>(y.data) + to * size;
  if (sizeOf(x.storage) == 2) toFloat(x, from, n, reinterpret_cast<float*>(out));
  else std::memcpy(out, static_cast<const char*>(x.data) + from * size, size_t(n * size));
}

int64_t grainFor(int64_t row) { return std::max<int64_t>(1, (1 << 14) / std::max<int64_t>(1, row)); }

Buffer& outputLike(Args& args, int i, const Buffer& x, int64_t count) {
  Buffer& y = args.buffer(i);
  const bool fits = x.storage == Storage::F32 || sizeOf(x.storage) == 2 ? y.storage == Storage::F32 : y.storage == x.storage;
  if (!fits || y.frozen() || y.count != count) fail("argument %d does not fit the result", i);
  return y;
}

/** y[rows[i]] += x[i] for rows of n elements; rows below zero are left out. Columns are shared between threads, so sums keep their order. */
void addRows(const Buffer& x, Buffer& y, const std::vector<int64_t>& rows, int64_t n) {
  if (y.storage != Storage::F32) {
    std::vector<double> a(static_cast<size_t>(n)), b(static_cast<size_t>(n));
    for (size_t i = 0; i < rows.size(); i++) {
      if (rows[i] < 0) continue;
      loadDoubles(x, int64_t(i) * n, 1, n, a.data());
      loadDoubles(y, rows[i] * n, 1, n, b.data());
      for (size_t j = 0; j < a.size(); j++) b[j] += a[j];
      storeDoubles(y, rows[i] * n, n, b.data());
    }
    return;
  }
  Scratch scratch;
  const float* from = f32(x, scratch);
  float* to = static_cast<float*>(y.data);
  parallelFor(n, 64, [&](int64_t begin, int64_t end) {
    for (size_t i = 0; i < rows.size(); i++)
      if (rows[i] >= 0) accumulate(from + int64_t(i) * n + begin, to + rows[i] * n + begin, end - begin);
  });
}

void clear(Buffer& y) {
  if (y.count) std::memset(y.data, 0, size_t(y.count * sizeOf(y.storage)));
}

}  // namespace

std::vector<int64_t> rowsOf(const Args& args, int64_t count, const std::vector<int64_t>& strides, int64_t rows, const char* shape) {
  const auto rank = int64_t(strides.size());
  const int32_t* indices = args.i32(1);
  if (args.count(1) != elements({count, rank})) fail("%lld index tuples of %lld need another number of indices", static_cast<long long>(count), static_cast<long long>(rank));
  std::vector<int64_t> out(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; i++) {
    std::string tuple;
    for (int64_t j = 0; j < rank; j++) out[size_t(i)] += indices[i * rank + j] * strides[size_t(j)];
    if (out[size_t(i)] >= 0 && out[size_t(i)] < rows) continue;
    for (int64_t j = 0; j < rank; j++) tuple += (j ? "," : "") + std::to_string(indices[i * rank + j]);
    fail("Invalid indices: %s does not index into %s", tuple.c_str(), shape);
  }
  return out;
}

void checkIndices(const int32_t* indices, int64_t count, int64_t axis) {
  for (int64_t i = 0; i < count; i++)
    if (indices[i] < 0 || indices[i] >= axis) fail("GatherV2: the index value %d is not in [0, %lld]", indices[i], static_cast<long long>(axis - 1));
}

}  // namespace graft

using namespace graft;

/** gather(x, indices, y, batch, outer, axis, inner, count): y[b, o, i] = x[b, o, indices[b, i]], rows of `inner`. */
GRAFT_EXPORT(gather) {
  const Buffer& x = args.input(0);
  const int32_t* indices = args.i32(1);
  const int64_t batch = args.integer(3), outer = args.integer(4), axis = args.integer(5), inner = args.integer(6), count = args.integer(7);
  Buffer& y = outputLike(args, 2, x, elements({batch, outer, count, inner}));
  if (x.count != elements({batch, outer, axis, inner}) || args.count(1) != elements({batch, count})) fail("gather: the shapes do not fit");
  checkIndices(indices, batch * count, axis);
  parallelFor(batch * outer * count, grainFor(inner), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t matrix = i / count, index = indices[matrix / outer * count + i % count];
      copyRow(x, (matrix * axis + index) * inner, y, i * inner, inner);
    }
  });
}

/** gatherNd(x, indices, y, strides in rows, row size, text of x's shape). */
GRAFT_EXPORT(gatherNd) {
  const Buffer& x = args.input(0);
  const auto strides = args.ints(3);
  const int64_t n = args.integer(4), count = args.integer(5);
  Buffer& y = outputLike(args, 2, x, elements({count, n}));
  const auto rows = rowsOf(args, count, strides, n ? x.count / n : 0, args.text(6).c_str());
  parallelFor(count, grainFor(n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) copyRow(x, rows[size_t(i)] * n, y, i * n, n);
  });
}

/** scatterNd(updates, indices, y, strides in rows, row size, count, text of y's shape): y is zero but for the sums of rows. */
GRAFT_EXPORT(scatterNd) {
  Buffer& y = args.buffer(2);
  const int64_t n = args.integer(4), count = args.integer(5);
  clear(outputLike(args, 2, args.buffer(0), y.count));
  if (y.count == 0) return;
  if (args.count(0) != elements({count, n}) || n == 0) fail("scatterNd: the shapes do not fit");
  addRows(args.buffer(0), y, rowsOf(args, count, args.ints(3), y.count / n, args.text(6).c_str()), n);
}

/** segmentSum(x, ids, y, segments, row size): rows of x added up by id; ids outside [0, segments) are left out. */
GRAFT_EXPORT(segmentSum) {
  const Buffer& x = args.input(0);
  const int32_t* ids = args.i32(1);
  const int64_t segments = args.integer(3), n = args.integer(4), count = args.count(1);
  if (x.count != elements({count, n})) fail("segmentSum: the shapes do not fit");
  Buffer& y = outputLike(args, 2, x, elements({segments, n}));
  clear(y);
  std::vector<int64_t> rows(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; i++) rows[size_t(i)] = ids[i] < segments ? ids[i] : -1;
  addRows(x, y, rows, n);
}

/** oneHot(indices, y, depth, on, off). */
GRAFT_EXPORT(oneHot) {
  const int32_t* indices = args.i32(0);
  const int64_t count = args.count(0), depth = args.integer(2);
  Buffer& y = outputLike(args, 1, args.buffer(1), elements({count, depth}));
  const double on = args.number(3), off = args.number(4);
  // One row without its index, in y's storage, is copied; then the index is set.
  const int64_t size = sizeOf(y.storage);
  std::vector<char> plain(static_cast<size_t>(depth * size));
  Buffer row;
  row.data = plain.data();
  row.count = depth;
  row.storage = y.storage;
  for (int64_t j = 0; j < depth; j++) storeDoubles(row, j, 1, &off);
  parallelFor(count, grainFor(depth), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      std::memcpy(static_cast<char*>(y.data) + i * depth * size, plain.data(), plain.size());
      if (indices[i] >= 0 && indices[i] < depth) storeDoubles(y, i * depth + indices[i], 1, &on);
    }
  });
}

/** topK(x, values, indices, row size, k): the largest first, the earlier of equals first. */
GRAFT_EXPORT(topK) {
  const Buffer& x = args.input(0);
  const int64_t n = args.integer(3), k = args.integer(4), rows = n > 0 ? x.count / n : 0;
  if (k < 0 || k > n) fail("topK: %lld of %lld values", static_cast<long long>(k), static_cast<long long>(n));
  Buffer& values = outputLike(args, 1, x, elements({rows, k}));
  int32_t* indices = args.outI32(2, rows * k);
  parallelFor(rows, grainFor(8 * n), [&](int64_t begin, int64_t end) {
    std::vector<double> row(static_cast<size_t>(n));
    std::vector<int32_t> order(static_cast<size_t>(n));
    for (int64_t r = begin; r < end; r++) {
      loadDoubles(x, r * n, 1, n, row.data());
      std::iota(order.begin(), order.end(), 0);
      std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int32_t a, int32_t b) {
        const double u = row[size_t(a)], v = row[size_t(b)];
        if (u == v || (u != u && v != v)) return a < b;
        return v != v || u > v;
      });
      for (int64_t i = 0; i < k; i++) {
        indices[r * k + i] = order[size_t(i)];
        storeDoubles(values, r * k + i, 1, &row[size_t(order[size_t(i)])]);
      }
    }
  });
}

/**
 * putRows(into, rows, width, lengths, to): block i of lengths[i] rows of `rows` replaces those of `into` from row to[i] on, in place.
 */
GRAFT_EXPORT(putRows) {
  using namespace graft;
  const int64_t width = args.integer(2);
  const std::vector<int64_t> lengths = args.ints(3), to = args.ints(4);
  Scratch scratch;
  const int64_t room = args.count(0) / std::max<int64_t>(1, width), n = std::accumulate(lengths.begin(), lengths.end(), int64_t(0));
  if (lengths.size() != to.size()) fail("putRows: %zu lengths and %zu places", lengths.size(), to.size());
  float* y = args.outF32(0, elements({room, width}));
  const float* x = args.f32(1, scratch, elements({n, width}));
  for (size_t i = 0; i < to.size(); i++) {
    if (lengths[i] < 0 || to[i] < 0 || to[i] > room - lengths[i]) fail("putRows: rows %lld and %lld more do not fit into %lld", static_cast<long long>(to[i]), static_cast<long long>(lengths[i]), static_cast<long long>(room));
    std::memcpy(y + to[i] * width, x, size_t(lengths[i] * width) * 4);
    x += lengths[i] * width;
  }
}
