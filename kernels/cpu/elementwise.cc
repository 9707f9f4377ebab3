// Element-wise kernels: which loop, over which parts, on which thread.
#include "elementwise.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "broadcast.h"
#include "core.h"
#include "scalar.h"

namespace graft {
namespace {

constexpr int64_t kGrain = 1 << 14;
constexpr int64_t kBlock = 256;

#define GRAFT_TEXT(op) #op,
const char* const kUnaryNames[] = {GRAFT_UNARY_OPS(GRAFT_TEXT, GRAFT_TEXT)};
const char* const kBinaryNames[] = {GRAFT_BINARY_OPS(GRAFT_TEXT, GRAFT_TEXT, GRAFT_TEXT)};
#undef GRAFT_TEXT

template <size_t n>
int find(const char* const (&names)[n], const std::string& name) {
  for (size_t i = 0; i < n; i++)
    if (name == names[i]) return int(i);
  fail("no element-wise operation %s", name.c_str());
}

bool isFloat(const Buffer& b) { return b.storage != Storage::I32 && b.storage != Storage::BOOL; }

Buffer& output(Args& args, int i, int64_t count) {
  Buffer& y = args.buffer(i);
  if (y.frozen() || y.count != count) fail("argument %d must be writable and hold %lld elements", i, static_cast<long long>(count));
  return y;
}

template <class From, class To>
void castLoop(const Buffer& x, Buffer& y, To (*f)(From)) {
  auto* from = static_cast<const From*>(x.data);
  auto* to = static_cast<To*>(y.data);
  parallelFor(x.count, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) to[i] = f(from[i]);
  });
}

/** The conversions that training meets; false for the others. */
bool castFast(const Buffer& x, Buffer& y) {
  const auto is = [&](Storage from, Storage to) { return x.storage == from && y.storage == to; };
  if (is(Storage::F32, Storage::I32)) castLoop<float, int32_t>(x, y, [](float v) { return toInt32(double(v)); });
  else if (is(Storage::I32, Storage::F32)) castLoop<int32_t, float>(x, y, [](int32_t v) { return float(v); });
  else if (is(Storage::BOOL, Storage::F32)) castLoop<uint8_t, float>(x, y, [](uint8_t v) { return float(v); });
  else if (is(Storage::BOOL, Storage::I32)) castLoop<uint8_t, int32_t>(x, y, [](uint8_t v) { return int32_t(v); });
  else if (is(Storage::F32, Storage::BOOL)) castLoop<float, uint8_t>(x, y, [](float v) { return uint8_t(v != 0); });
  else return false;
  return true;
}

/** f(offset of a, offset of b, offset of y, rows) over blocks that cover the output. Axis 0 is the innermost. */
template <class F>
void inParts(const Broadcast& shape, F f) {
  if (shape.count == 0) return;
  const auto &size = shape.size, &stepA = shape.stepA, &stepB = shape.stepB;
  const int64_t n = size[0], rows = shape.count / n;
  if (rows == 1 || n > 2 * kGrain) {
    const int64_t pieces = (n + kGrain - 1) / kGrain;
    parallelFor(rows * pieces, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t row = i / pieces, column = i % pieces * kGrain;
        const auto [a, b] = shape.offsets(row);
        f(a + column * stepA[0], b + column * stepB[0], row * n + column, Rows{1, std::min(kGrain, n - column), 0, stepA[0], 0, stepB[0]});
      }
    });
    return;
  }
  parallelFor(rows, std::max<int64_t>(1, kGrain / n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end;) {
      const int64_t run = std::min(end - row, size[1] - row % size[1]);
      const auto [a, b] = shape.offsets(row);
      f(a, b, row * n, Rows{run, n, stepA[1], stepA[0], stepB[1], stepB[0]});
      row += run;
    }
  });
}

void unaryDoubles(Unary op, const Buffer& x, Buffer& y, double p, double q) {
  parallelFor(x.count, 1 << 11, [&](int64_t begin, int64_t end) {
    double values[kBlock];
    for (int64_t i = begin; i < end; i += kBlock) {
      const int64_t n = std::min(kBlock, end - i);
      loadDoubles(x, i, 1, n, values);
      for (int64_t k = 0; k < n; k++) values[k] = unaryScalar(op, values[k], p, q);
      storeDoubles(y, i, n, values);
    }
  });
}

void binaryDoubles(Binary op, const Buffer& a, const Buffer& b, Buffer& y, const Broadcast& shape) {
  inParts(shape, [&](int64_t fromA, int64_t fromB, int64_t to, Rows r) {
    double u[kBlock], v[kBlock];
    for (int64_t row = 0; row < r.rows; row++)
      for (int64_t i = 0; i < r.n; i += kBlock) {
        const int64_t n = std::min(kBlock, r.n - i);
        loadDoubles(a, fromA + row * r.rowA + i * r.stepA, r.stepA, n, u);
        loadDoubles(b, fromB + row * r.rowB + i * r.stepB, r.stepB, n, v);
        for (int64_t k = 0; k < n; k++) u[k] = binaryScalar(op, u[k], v[k]);
        storeDoubles(y, to + row * r.n + i, n, u);
      }
  });
}

/** Runs the vectorised loop over the parts; false where the operation has none. */
template <class T, class R>
bool binaryFast(bool (*loop)(int, const T*, const T*, R*, Rows), int op, const T* a, const T* b, void* y, const Broadcast& shape) {
  if (!loop(op, a, b, static_cast<R*>(y), Rows{0, 0, 0, 1, 0, 1})) return false;
  inParts(shape, [&](int64_t fromA, int64_t fromB, int64_t to, Rows r) { loop(op, a + fromA, b + fromB, static_cast<R*>(y) + to, r); });
  return true;
}

bool binaryVector(int op, const Buffer& a, const Buffer& b, Buffer& y, const Broadcast& shape) {
  if (isFloat(a) && isFloat(b)) {
    Scratch scratch;
    const float *u = f32(a, scratch), *v = f32(b, scratch);
    if (y.storage == Storage::F32) return binaryFast(binaryLoopF32, op, u, v, y.data, shape);
    return y.storage == Storage::BOOL && binaryFast(compareLoopF32, op, u, v, y.data, shape);
  }
  if (a.storage != b.storage) return false;
  if (a.storage == Storage::I32) {
    auto *u = static_cast<const int32_t*>(a.data), *v = static_cast<const int32_t*>(b.data);
    if (y.storage == Storage::I32) return binaryFast(binaryLoopI32, op, u, v, y.data, shape);
    return y.storage == Storage::BOOL && binaryFast(compareLoopI32, op, u, v, y.data, shape);
  }
  return a.storage == Storage::BOOL && y.storage == Storage::BOOL &&
         binaryFast(compareLoopBool, op, static_cast<const uint8_t*>(a.data), static_cast<const uint8_t*>(b.data), y.data, shape);
}

}  // namespace
}  // namespace graft

using namespace graft;

GRAFT_EXPORT(unaryOp) { args.returns(find(kUnaryNames, args.text(0))); }
GRAFT_EXPORT(binaryOp) { args.returns(find(kBinaryNames, args.text(0))); }

/** unary(op, x, y, p, q): y = op(x), in y's storage. */
GRAFT_EXPORT(unary) {
  const int op = int(args.integer(0));
  const Buffer& x = args.input(1);
  Buffer& y = output(args, 2, x.count);
  const double p = args.size() > 3 ? args.number(3) : 0, q = args.size() > 4 ? args.number(4) : 0;
  if (isFloat(x) && y.storage == Storage::F32 && unaryLoop(op, nullptr, nullptr, 0, 0, 0)) {
    Scratch scratch;
    const float* from = f32(x, scratch);
    float* to = static_cast<float*>(y.data);
    parallelFor(x.count, kGrain, [&](int64_t begin, int64_t end) { unaryLoop(op, from + begin, to + begin, end - begin, float(p), float(q)); });
    return;
  }
  unaryDoubles(Unary(op), x, y, p, q);
}

/** binary(op, a, b, y, shape of a, shape of b): y = op(a, b) with broadcasting; without shapes both are as large as y. */
GRAFT_EXPORT(binary) {
  const int op = int(args.integer(0));
  const Buffer &a = args.input(1), &b = args.input(2);
  const bool alike = args.none(4);
  const std::vector<int64_t> first = alike ? std::vector<int64_t>{a.count} : args.ints(4), second = alike ? std::vector<int64_t>{b.count} : args.ints(5);
  if (elements(first) != a.count || elements(second) != b.count) fail("binary: the shapes do not fit");
  const Broadcast shape(first, second);
  Buffer& y = output(args, 3, shape.count);
  if (op == int(Binary::Pow) && isFloat(a) && b.count == 1 && b.storage == Storage::F32 && *static_cast<const float*>(b.data) == 2) {
    Scratch scratch;
    const float* u = f32(a, scratch);
    binaryFast(binaryLoopF32, int(Binary::Multiply), u, u, y.data, Broadcast({a.count}, {a.count}));
    return;
  }
  if (!binaryVector(op, a, b, y, shape)) binaryDoubles(Binary(op), a, b, y, shape);
}

/** cast(x, y): y's storage. To bool: whether the value is not zero. */
GRAFT_EXPORT(cast) {
  const Buffer& x = args.input(0);
  Buffer& y = output(args, 1, x.count);
  if (castFast(x, y)) return;
  parallelFor(x.count, kGrain, [&](int64_t begin, int64_t end) {
    double values[kBlock];
    for (int64_t i = begin; i < end; i += kBlock) {
      const int64_t n = std::min(kBlock, end - i);
      loadDoubles(x, i, 1, n, values);
      if (y.storage == Storage::BOOL) for (int64_t k = 0; k < n; k++) values[k] = values[k] != 0;
      storeDoubles(y, i, n, values);
    }
  });
}

/** fill(y, value). */
GRAFT_EXPORT(fill) {
  Buffer& y = output(args, 0, args.count(0));
  double one = args.number(1);
  if (y.count == 0) return;
  storeDoubles(y, 0, 1, &one);
  const int64_t size = sizeOf(y.storage);
  char* data = static_cast<char*>(y.data);
  if (one == 0) {
    std::memset(data, 0, size_t(y.count * size));
    return;
  }
  for (int64_t done = 1; done < y.count;) {
    const int64_t n = std::min(std::min(done, y.count - done), kGrain);
    std::memcpy(data + done * size, data, size_t(n * size));
    done += n;
  }
}

/** addN(list of float32, y). */
GRAFT_EXPORT(addN) {
  const auto terms = args.buffers(0);
  if (terms.empty()) fail("addN: no terms");
  for (const Buffer* t : terms) if (t->count != terms[0]->count) fail("addN: the terms differ in size");
  float* y = args.outF32(1, terms[0]->count);
  Scratch scratch;
  std::vector<const float*> x;
  for (const Buffer* t : terms) x.push_back(f32(*t, scratch));
  parallelFor(terms[0]->count, kGrain, [&](int64_t begin, int64_t end) {
    std::memcpy(y + begin, x[0] + begin, size_t(end - begin) * 4);
    for (size_t k = 1; k < x.size(); k++) accumulate(x[k] + begin, y + begin, end - begin);
  });
}

/** select(condition, t, e, y): condition holds one value per element of y, or per leading row of it. */
GRAFT_EXPORT(select) {
  const uint8_t* c = args.boolean(0);
  const Buffer &t = args.input(1), &e = args.input(2);
  Buffer& y = output(args, 3, t.count);
  if (e.count != t.count || t.storage != y.storage || e.storage != y.storage) fail("select: the two branches differ");
  const int64_t conditions = args.count(0), per = conditions ? t.count / conditions : 1, size = sizeOf(y.storage);
  if (conditions * per != t.count) fail("select: %lld conditions for %lld elements", static_cast<long long>(conditions), static_cast<long long>(t.count));
  auto *from = static_cast<const char*>(t.data), *other = static_cast<const char*>(e.data);
  char* to = static_cast<char*>(y.data);
  parallelFor(conditions, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, per)), [&](int64_t begin, int64_t end) {
    if (per == 1 && size == 4) {
      auto word = [&](auto* p) { return reinterpret_cast<const int32_t*>(p) + begin; };
      selectLoop(c + begin, word(from), word(other), reinterpret_cast<int32_t*>(to) + begin, end - begin);
      return;
    }
    for (int64_t i = begin; i < end; i++) std::memcpy(to + i * per * size, (c[i] ? from : other) + i * per * size, size_t(per * size));
  });
}
