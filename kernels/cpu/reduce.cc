// Reductions. Sums are taken over fixed blocks, in doubles between them: the same for any number of threads.
#include "reduce.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core.h"
#include "scalar.h"

namespace graft {
namespace {

constexpr int64_t kWork = 1 << 14;

struct View {
  int64_t outer, axis, inner;
  int64_t count() const { return elements({outer, axis, inner}); }
  int64_t outputs() const { return elements({outer, inner}); }
};

/** One sum over everything: partial sums of fixed blocks, added up in order. */
double sumAll(const float* x, int64_t n) {
  constexpr int64_t block = 1 << 16;
  const int64_t blocks = (n + block - 1) / block;
  std::vector<double> parts(static_cast<size_t>(blocks));
  parallelFor(blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) parts[size_t(i)] = sumRun(x + i * block, std::min(block, n - i * block));
  });
  double total = 0;
  for (const double part : parts) total += part;
  return total;
}

void sumRows(const float* x, float* y, const View& v, double scale) {
  if (v.outer == 1) {
    y[0] = float(sumAll(x, v.axis) * scale);
    return;
  }
  parallelFor(v.outer, std::max<int64_t>(1, kWork / std::max<int64_t>(1, v.axis)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) y[i] = float(sumRun(x + i * v.axis, v.axis) * scale);
  });
}

/** Column sums of each outer matrix, over blocks of rows. */
void sumInner(const float* x, float* y, const View& v, double scale) {
  const int64_t rows = std::max<int64_t>(32, kWork / v.inner), blocks = (v.axis + rows - 1) / rows;
  Scratch scratch;
  double* parts = static_cast<double*>(scratch.bytes(v.outer * blocks * v.inner * 8));
  parallelFor(v.outer * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t o = i / blocks, first = i % blocks * rows;
      double* part = parts + i * v.inner;
      std::fill_n(part, v.inner, 0.0);
      sumColumns(x + (o * v.axis + first) * v.inner, v.inner, std::min(rows, v.axis - first), part, v.inner);
    }
  });
  parallelFor(v.outer * v.inner, kWork, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const double* part = parts + i / v.inner * blocks * v.inner + i % v.inner;
      double total = 0;
      for (int64_t b = 0; b < blocks; b++) total += part[b * v.inner];
      y[i] = float(total * scale);
    }
  });
}

void reduceFloat(Reduction op, const float* x, float* y, const View& v) {
  if (v.inner == 1) {
    parallelFor(v.outer, std::max<int64_t>(1, kWork / v.axis), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) y[i] = reduceRun(int(op), x + i * v.axis, v.axis);
    });
    return;
  }
  constexpr int64_t width = 256;
  const int64_t pieces = (v.inner + width - 1) / width;
  parallelFor(v.outer * pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t o = i / pieces, column = i % pieces * width, n = std::min(width, v.inner - column);
      const float* from = x + o * v.axis * v.inner + column;
      float* to = y + o * v.inner + column;
      std::memcpy(to, from, size_t(n) * 4);
      for (int64_t a = 1; a < v.axis; a++) combine(int(op), from + a * v.inner, to, n);
    }
  });
}

double step(Reduction op, double total, double x) {
  switch (op) {
    case Reduction::Sum: return total + x;
    case Reduction::Prod: return total * x;
    case Reduction::Max: return x > total || x != x ? x : total;
    case Reduction::Min: return x < total || x != x ? x : total;
    case Reduction::All: return total != 0 && x != 0;
    case Reduction::Any: return total != 0 || x != 0;
  }
  return total;
}

/** Integers and bools, and whatever is empty. */
void reduceDoubles(Reduction op, const Buffer& x, Buffer& y, const View& v) {
  const double empty = op == Reduction::Sum ? 0 : op == Reduction::Prod ? 1 : NAN;
  parallelFor(v.outer * v.inner, std::max<int64_t>(1, kWork / std::max<int64_t>(1, v.axis)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t from = i / v.inner * v.axis * v.inner + i % v.inner;
      double total = empty, value;
      for (int64_t a = 0; a < v.axis; a++) {
        loadDoubles(x, from + a * v.inner, 1, 1, &value);
        total = a == 0 && op != Reduction::Sum && op != Reduction::Prod ? value : step(op, total, value);
      }
      storeDoubles(y, i, 1, &total);
    }
  });
}

bool better(bool largest, float x, float best) { return largest ? x > best : x < best; }

/** The first best; NaN is never better. */
void bestIndex(bool largest, const float* x, int32_t* y, const View& v) {
  parallelFor(v.outer * v.inner, std::max<int64_t>(1, kWork / std::max<int64_t>(1, v.axis)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      if (v.inner == 1 && v.axis > 0) {
        y[i] = int32_t(bestOfRun(largest, x + i * v.axis, v.axis));
        continue;
      }
      const float* from = x + i / v.inner * v.axis * v.inner + i % v.inner;
      int32_t at = 0;
      for (int64_t a = 1; a < v.axis; a++)
        if (better(largest, from[a * v.inner], from[at * v.inner])) at = int32_t(a);
      y[i] = at;
    }
  });
}

View view(const Args& args, int i) { return {args.integer(i), args.integer(i + 1), args.integer(i + 2)}; }

const float* asFloat(const Buffer& x, Scratch& scratch, const View& v) {
  if (x.count != v.count()) fail("reduce: the shape does not fit %lld elements", static_cast<long long>(x.count));
  return f32(x, scratch);
}

}  // namespace
}  // namespace graft

using namespace graft;

/** reduce(reduction, x, y, outer, axis, inner, scale): y [outer, inner] from x [outer, axis, inner]; scale is for float32 sums. */
GRAFT_EXPORT(reduce) {
  const int64_t code = args.integer(0);
  if (code < int64_t(Reduction::Sum) || code > int64_t(Reduction::Any)) fail("reduce: no reduction %lld", static_cast<long long>(code));
  const auto op = Reduction(code);
  const Buffer& x = args.input(1);
  Buffer& y = args.buffer(2);
  const View v = view(args, 3);
  if (x.count != v.count() || y.count != v.outputs() || y.frozen()) fail("reduce: the shapes do not fit");
  if (y.count == 0) return;
  if (y.storage != Storage::F32 || x.storage == Storage::I32 || x.storage == Storage::BOOL || v.axis == 0) return reduceDoubles(op, x, y, v);
  Scratch scratch;
  const float* from = f32(x, scratch);
  float* to = static_cast<float*>(y.data);
  if (op != Reduction::Sum) return reduceFloat(op, from, to, v);
  if (v.inner == 1) sumRows(from, to, v, args.number(6));
  else sumInner(from, to, v, args.number(6));
}

/** argBest(largest, x, y int32, outer, axis, inner). */
GRAFT_EXPORT(argBest) {
  const View v = view(args, 3);
  Scratch scratch;
  bestIndex(args.flag(0), asFloat(args.buffer(1), scratch, v), args.outI32(2, v.outputs()), v);
}

/** cumulate(product, x, y, outer, axis, inner, exclusive, reverse): running sums or products. */
GRAFT_EXPORT(cumulate) {
  const bool product = args.flag(0), exclusive = args.flag(6), reverse = args.flag(7);
  const Buffer& x = args.input(1);
  Buffer& y = args.buffer(2);
  const View v = view(args, 3);
  if (x.count != v.count() || y.count != x.count || y.frozen()) fail("cumulate: the shapes do not fit");
  parallelFor(v.outer * v.inner, std::max<int64_t>(1, kWork / std::max<int64_t>(1, v.axis)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      double total = product, value;
      for (int64_t a = 0; a < v.axis; a++) {
        const int64_t at = (i / v.inner * v.axis + (reverse ? v.axis - 1 - a : a)) * v.inner + i % v.inner;
        loadDoubles(x, at, 1, 1, &value);
        const double next = product ? total * value : total + value;
        storeDoubles(y, at, 1, exclusive ? &total : &next);
        total = next;
      }
    }
  });
}
