#include "resize.h"

#include "../cpu/resize.h"
#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel resizeKernel("resize", "resize"), gradient("resize", "resizeGrad");

static Pointer sent(Call& call, const std::vector<Tap>& taps) {
  std::vector<Between> out;
  for (const Tap& t : taps) out.push_back({int(t.low), int(t.high), t.fraction});
  return call.sent(out.data(), int64_t(out.size() * sizeof(Between)));
}

static Sizes sizesOf(const Resize& s) { return {int(s.inHeight), int(s.inWidth), int(s.outHeight), int(s.outWidth), int(s.channels)}; }

/** resize(x, y, batch, height, width, new height, new width, channels, nearest, alignCorners, halfPixelCenters) */
GRAFT_CUDA(resize) {
  const Resize s(call, 2);
  const Pointer x = call.f32(0, s.inputs()), y = call.outF32(1, s.outputs());
  launch(resizeKernel, {blocks(s.outputs(), 256)}, 256, 0, x, y, sent(call, s.rows), sent(call, s.columns), sizesOf(s), Index(s.outputs()));
}

/** resizeGrad(dy, dx, …): as resize. */
GRAFT_CUDA(resizeGrad) {
  const Resize s(call, 2);
  const Pointer dy = call.f32(0, s.outputs()), dx = call.outF32(1, s.inputs());
  launch(gradient, {blocks(s.inputs(), 256)}, 256, 0, dy, dx, sent(call, s.rows), sent(call, s.columns), sizesOf(s), Index(s.inputs()));
}
