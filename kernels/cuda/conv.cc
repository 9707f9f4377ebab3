#include "conv.h"

#include <algorithm>

#include "../cpu/conv-geometry.h"
#include "blas.h"
#include "memory.h"
#include "offload.h"
#include "reduce.h"
#include "tile-bf16.h"

using namespace graft;
using namespace graft::cuda;

static Kernel forward("conv", "convForward"), inputGradient("conv", "convInputGradient"), filterGradient("conv", "convFilterGradient"), directForward("conv", "directForward"),
    directInputGradient("conv", "directInputGradient"), directFilterGradient("conv", "directFilterGradient"), directFinish("conv", "directFilterFinish"), finish("reduce", "finish"), forwardBf16[] = {{"conv-bf16", "convForwardAcross"}, {"conv-bf16", "convForwardAlong"}},
    inputGradientBf16[] = {{"conv-bf16", "convInputGradientAcross"}, {"conv-bf16", "convInputGradientAlong"}}, tapsFirst("conv-bf16", "tapsFirst");

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
  int64_t taps() const { return g.KH * g.KW; }
  /** A product of the pixels' channels with the filter, and nothing else. */
  bool product() const { return taps() == 1 && g.G == 1 && g.sh == 1 && g.sw == 1 && g.pt == 0 && g.pl == 0 && g.OH == g.H && g.OW == g.W; }
};

void needWeights(Call& call, int i, const ConvGeometry& g) {
  if (call.count(i) != g.weights() || !call.isFloat(i)) fail("conv: the filter holds %lld values, not %lld", static_cast<long long>(call.count(i)), static_cast<long long>(g.weights()));
}

/** As products have it: those with frozen weights alone. */
bool narrow(Call& call, int filter) { return precision() == Precision::Bf16 && call.buffer(filter).frozen(); }

/** The product [m, n] that a convolution is whose window is a pixel; k deep, of arguments in this order. */
bool multiplied(Call& call, const Shape& s, const Outputs& o, Gemm g, const Operands& operands = {}) {
  if (!s.product()) return false;
  g.alpha = 1, g.activation = -1;
  g.storageA = int(call.storage(operands.a)), g.storageB = int(call.storage(operands.b));
  return multiplyByBlas(call, o, {}, g, operands);
}

/** A frozen filter OIHW in bf16 with its taps before its channels, kept in the place of its own values. */
Pointer withTapsFirst(Buffer& b, const Shape& s) {
  return keptInBf16(b, [&](Pointer w, Pointer to) { launch(tapsFirst, {blocks(b.count, 256)}, 256, 0, w, int(b.storage), to, int(s.taps()), int(s.g.cg()), Index(b.count)); });
}

/** A convolution in bf16, forward or to the input's gradient; false where it is none. */
bool convolvedInBf16(Call& call, const Shape& s, bool gradient, Pointer x, Pointer bias, Pointer y) {
  const ConvGeometry& g = s.g;
  Buffer& filter = call.buffer(1);
  if (!narrow(call, 1) || g.cg() % 8 || g.og() % 8 || x.address % 16 || offloaded(filter)) return false;
  const Index cg = g.cg(), og = g.og(), taps = s.taps();
  // [taps, cg, O] as it is, or [O, taps, cg].
  const bool along = gradient == (g.hwio != 0);
  FilterLayout at = g.hwio ? FilterLayout{og, gradient ? g.O : 1, cg * g.O, gradient ? 1 : g.O, int(filter.storage), 0}
                           : FilterLayout{og * taps * cg, gradient ? 1 : taps * cg, cg, gradient ? taps * cg : 1, int(filter.storage), 0};
  Pointer w = {};
  if (g.hwio || taps == 1) w = call.input(1);
  else w = withTapsFirst(filter, s), at.storage = kBf16;
  Kernel& kernel = (gradient ? inputGradientBf16 : forwardBf16)[along];
  const int64_t pixels = gradient ? g.B * g.H * g.W : s.pixels();
  launch(kernel, {blocks(pixels, kTileRows), blocks(gradient ? cg : og, kTileColumns), g.G}, 256, 0, x, w, bias, y, s.c, at);
  return true;
}

}  // namespace

/** convForward(x, filter, bias | null, y, geometry) */
GRAFT_CUDA(convForward) {
  const Shape s(call.ints(4));
  const ConvGeometry& g = s.g;
  needWeights(call, 1, g);
  const Pointer x = call.f32(0, g.inputs()), bias = call.f32OrNull(2, g.O), y = call.outF32(3, g.outputs());
  const Gemm product = {s.pixels(), g.O, g.C, g.C, 1, g.hwio ? g.O : 1, g.hwio ? 1 : g.C, 0, 0, 0, 0, 0, narrow(call, 1), 1, 0};
  if (multiplied(call, s, {y, {}, bias, {}}, product) || convolvedInBf16(call, s, false, x, bias, y)) return;
  const Pointer w = call.input(1);
  const int storage = int(call.storage(1));
  if (s.direct()) launch(directForward, {blocks(g.outputs(), 256)}, 256, 0, x, w, storage, bias, y, s.c);
  else launch(forward, {blocks(s.pixels(), kTile), blocks(g.og(), kTile), g.G}, 256, 0, x, w, storage, bias, y, s.c);
}

/** convInputGradient(dy, filter, dx, geometry) */
GRAFT_CUDA(convInputGradient) {
  const Shape s(call.ints(3));
  const ConvGeometry& g = s.g;
  needWeights(call, 1, g);
  const Pointer dy = call.f32(0, g.outputs()), dx = call.outF32(2, g.inputs());
  const Gemm product = {s.pixels(), g.C, g.O, g.O, 1, g.hwio ? 1 : g.C, g.hwio ? g.O : 1, 0, 0, 0, 0, 0, narrow(call, 1), 1, 0};
  if (multiplied(call, s, {dx, {}, {}, {}}, product) || convolvedInBf16(call, s, true, dy, {}, dx)) return;
  const Pointer w = call.input(1);
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
  const int64_t rows = g.hwio ? g.C : g.O, columns = g.hwio ? g.O : g.C;
  if (multiplied(call, s, {dw, {}, {}, {}}, {rows, columns, s.pixels(), 1, rows, columns, 1, 0, 0, 0, 0, 0, 0, 1, 0}, {g.hwio ? 0 : 1, g.hwio ? 1 : 0, {}})) return;
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
