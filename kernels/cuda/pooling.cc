#include "pooling.h"

#include "../cpu/pooling.h"
#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel forward("pooling", "poolForward"), maxGradient("pooling", "maxPoolGradient"), averageGradient("pooling", "averagePoolGradient");

namespace {

struct Shape {
  Pool g;
  int64_t inputs, outputs;
  explicit Shape(const PoolGeometry& p) : inputs(elements({p.B, p.H, p.W, p.C})), outputs(elements({p.B, p.OH, p.OW, p.C})) {
    const auto i = [](int64_t n) { return int(n); };
    g = {i(p.B), i(p.H), i(p.W), i(p.C), i(p.KH), i(p.KW), i(p.OH), i(p.OW), i(p.sh), i(p.sw), i(p.pt), i(p.pl), i(p.dh), i(p.dw)};
  }
};

}  // namespace

/** poolForward(x, y, geometry, average) */
GRAFT_CUDA(poolForward) {
  const Shape s(poolGeometry(call.ints(2)));
  const Pointer x = call.f32(0, s.inputs), y = call.outF32(1, s.outputs);
  launch(forward, {blocks(s.outputs, 256)}, 256, 0, x, y, int(call.flag(3)), s.g, Index(s.outputs));
}

/** maxPoolGradient(x, dy, dx, geometry) */
GRAFT_CUDA(maxPoolGradient) {
  const Shape s(poolGeometry(call.ints(3)));
  const Pointer x = call.f32(0, s.inputs), dy = call.f32(1, s.outputs), dx = call.outF32(2, s.inputs);
  launch(maxGradient, {blocks(s.inputs, 256)}, 256, 0, x, dy, dx, s.g, Index(s.inputs));
}

/** averagePoolGradient(dy, dx, geometry) */
GRAFT_CUDA(averagePoolGradient) {
  const Shape s(poolGeometry(call.ints(2)));
  const Pointer dy = call.f32(0, s.outputs), dx = call.outF32(1, s.inputs);
  launch(averageGradient, {blocks(s.inputs, 256)}, 256, 0, dy, dx, s.g, Index(s.inputs));
}
