#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel rotaryKernel("rotary", "rotary");

/** rotary(x, cos, sin, y, T, H, dh, backward) */
GRAFT_CUDA(rotary) {
  const int64_t count = call.count(0), T = call.integer(4), H = call.integer(5), dh = call.integer(6);
  const Pointer x = call.f32(0), cos = call.f32(1, elements({T, dh})), sin = call.f32(2, elements({T, dh})), y = call.outF32(3, count);
  if (count != 0 && (elements({T, H, dh}) == 0 || count % (T * H * dh))) fail("rotary: the shapes do not fit");
  if (dh % 2) fail("rotary: the head size %lld is odd", static_cast<long long>(dh));
  launch(rotaryKernel, {blocks(count / 2, 256)}, 256, 0, x, cos, sin, y, Index(T), Index(H), Index(dh / 2), int(call.flag(7)), Index(count / 2));
}
