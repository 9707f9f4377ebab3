#include "elementwise.h"

#include "../cpu/broadcast.h"
#include "../common/operations.h"
#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel unaryFloat("elementwise", "unaryFloat"), unaryDouble("elementwise", "unaryDouble"), binaryFloat("elementwise", "binaryFloat"),
    binaryDouble("elementwise", "binaryDouble"), widen("convert", "widen"), accumulate("elementwise", "accumulate"), choose("elementwise", "select");

GRAFT_CUDA(unary) {
  const int op = int(call.integer(0));
  const int64_t n = call.count(1);
  const double p = call.size() > 3 ? call.number(3) : 0, q = call.size() > 4 ? call.number(4) : 0;
  const Pointer x = call.input(1), y = call.output(2, n);
  const int from = int(call.storage(1)), to = int(call.storage(2));
  // Angles may be large: where the CPU has no loop in single precision, neither is here.
  if (call.isFloat(1) && to == kF32 && op < int(Unary::Sin)) launch(unaryFloat, {blocks(n, 256)}, 256, 0, op, x, from, y, Index(n), float(p), float(q));
  else launch(unaryDouble, {blocks(n, 256)}, 256, 0, op, x, from, y, to, Index(n), p, q);
}

GRAFT_CUDA(binary) {
  const bool alike = call.none(4);
  const std::vector<int64_t> first = alike ? std::vector<int64_t>{call.count(1)} : call.ints(4), second = alike ? std::vector<int64_t>{call.count(2)} : call.ints(5);
  if (elements(first) != call.count(1) || elements(second) != call.count(2)) fail("binary: the shapes do not fit");
  const Broadcast shape(first, second);
  TwoOperands o = {int(shape.size.size()), {}, {}, {}};
  if (o.rank > kAxes || shape.count > UINT32_MAX) fail("binary: %d axes, %lld elements are too many", o.rank, static_cast<long long>(shape.count));
  for (int k = 0; k < o.rank; k++) {
    o.size[k] = unsigned(shape.size[size_t(k)]);
    o.stepA[k] = shape.stepA[size_t(k)];
    o.stepB[k] = shape.stepB[size_t(k)];
  }
  const Pointer a = call.input(1), b = call.input(2), y = call.output(3, shape.count);
  // What becomes an integer may be larger than float32 holds.
  launch(call.isFloat(1) && call.isFloat(2) && call.storage(3) != Storage::I32 ? binaryFloat : binaryDouble, {blocks(shape.count, 256)}, 256, 0, int(call.integer(0)), a, int(call.storage(1)), b,
         int(call.storage(2)), y, int(call.storage(3)), o, unsigned(shape.count));
}

GRAFT_CUDA(addN) {
  const auto terms = call.ints(0);
  if (terms.empty()) fail("addN: no terms");
  int64_t n = -1;
  for (size_t k = 0; k < terms.size(); k++) {
    Buffer& t = graft::buffer(int32_t(terms[k]));
    if (n < 0) n = t.count;
    if (t.count != n) fail("addN: the terms differ in size");
    const Pointer x = toDevice(t, false), y = call.outF32(1, n);
    launch(k == 0 ? widen : accumulate, {blocks(n, 256)}, 256, 0, x, int(t.storage), y, Index(n));
  }
}

GRAFT_CUDA(select) {
  const int64_t n = call.count(1), conditions = call.count(0), per = conditions ? n / conditions : 1;
  const Pointer c = call.boolean(0), t = call.input(1), e = call.input(2), y = call.output(3, n);
  if (call.count(2) != n || call.storage(1) != call.storage(3) || call.storage(2) != call.storage(3)) fail("select: the two branches differ");
  if (conditions * per != n) fail("select: %lld conditions for %lld elements", static_cast<long long>(conditions), static_cast<long long>(n));
  launch(choose, {blocks(n, 256)}, 256, 0, c, t, e, y, int(sizeOf(call.storage(3))), Index(per), Index(n));
}
