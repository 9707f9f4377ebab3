#include "conv.h"

#include <algorithm>

#include "../cpu/conv-geometry.h"
#include "memory.h"
#include "reduce.h"

using namespace graft;
using namespace graft::cuda;

static Kernel forward("conv", "convForward"), inputGradient("conv", "convInputGradient"), filterGradient("conv", "convFilterGradient"), directForward("conv", "directForward"),
    directInputGradient("conv", "directInputGradient"), directFilterGradient("conv", "directFilterGradient"), directFinish("conv", "directFilterFinish"), finish("reduce", "finish");

namespace {

constexpr int64_t kFew = 4;  // channels a group, below which a tile would be mostly empty

struct Shape {
  ConvGeometry g;
  Conv c;
  explicit Shape(const std::vector<int64_t>& numbers) : g(numbers) {
    if (std::max({g.inputs(), g.outputs(), g.weights()}) > INT32_MAX) fail("conv: images of more than 2^31 values");
    const auto i = [](int64_t n) { return int(n); };
    c = {i(g.B), i(g.H), i(g.W), i(g.C), i(g.KH), i(g.KW), i(g.OH), i(g.OW), i(g.O), i(g.sh), i(g.sw), i(g.pt), i(g.pl), i(g.dh), i(g.dw), i(g.G), i(g.hwio), 0};
  }
  bool direct() const { return g.G > 1 && std::min(g.cg(), g.og()) <= kFew; }
  int64_t pixels() const { return g.B * g.OH * g.OW; }
};

void needWeights(Call& call, int i, const ConvGeometry& g) {
  if (call.count(i) != g.weights() || !call.isFloat(i)) fail("conv: the filter holds %lld values, not %lld", static_cast<long long>(call.count(i)), static_cast<long long>(g.weights()));
}

}  // namespace

/** convForward(x, filter, bias | null, y, geometry) */
GRAFT_CUDA(convForward) {
  const Shape s(call.ints(4));
  const ConvGeometry& g = s.g;
  needWeights(call, 1, g);
  const Pointer x = call.f32(0, g.inputs()), w = call.input(1), bias = call.f32OrNull(2, g.O), y = call.outF32(3, g.outputs());
  const int storage = int(call.storage(1));
  if (s.direct()) launch(directForward, {blocks(g.outputs(), 256)}, 256, 0, x, w, storage, bias, y, s.c);
  else launch(forward, {blocks(s.pixels(), kTile), blocks(g.og(), kTile), g.G}, 256, 0, x, w, storage, bias, y, s.c);
}

/** convInputGradient(dy, filter, dx, geometry) */
GRAFT_CUDA(convInputGradient) {
  const Shape s(call.ints(3));
  const ConvGeometry& g = s.g;
  needWeights(call, 1, g);
  const Pointer dy = call.f32(0, g.outputs()), w = call.input(1), dx = call.outF32(2, g.inputs());
  const int storage = int(call.storage(1));
  if (s.direct()) launch(directInputGradient, {blocks(g.inputs(), 256)}, 256, 0, dy, w, storage, dx, s.c);
  else launch(inputGradient, {blocks(g.B * g.H * g.W, kTile), blocks(g.cg(), kTile), g.G}, 256, 0, dy, w, storage, dx, s.c);
}

/** convFilterGradient(x, dy, dFilter, geometry): the sum over pixels in chunks that depend on the shape alone. */
GRAFT_CUDA(convFilterGradient) {
  const Shape s(call.ints(3));
  const ConvGeometry& g = s.g;
  const int64_t taps = g.KH * g.KW * g.cg();
  const Pointer x = call.f32(0, g.inputs()), dy = call.f32(1, g.outputs()), dw = call.outF32(2, g.weights());
  const int64_t busy = s.direct() ? blocks(g.O, 32) * taps : blocks(taps, kTile) * blocks(g.og(), kTile) * g.G;
  const int64_t chunks = std::max<int64_t>(1, std::min<int64_t>({128, s.pixels() / 256, 1024 / std::max<int64_t>(1, busy)})), perChunk = blocks(s.pixels(), chunks);
  const Pointer partial = call.temporary(chunks * g.weights() * 8);
  if (s.direct()) {
    launch(directFilterGradient, {blocks(g.O, 32), chunks, taps}, 256, 0, x, dy, partial, Index(perChunk), s.c);
    launch(directFinish, {blocks(g.weights(), 256)}, 256, 0, partial, dw, Index(chunks), s.c);
  } else {
    launch(filterGradient, {blocks(taps, kTile), blocks(g.og(), kTile), g.G * chunks}, 256, 0, x, dy, partial, Index(perChunk), s.c);
    launch(finish, {blocks(g.weights(), 256)}, 256, 0, int(kSum), partial, dw, int(kF32), Index(chunks), Index(g.weights()), 1.0, Index(g.weights()));
  }
}
