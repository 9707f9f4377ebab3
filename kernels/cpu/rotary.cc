// Rotary position embedding in the half-split form.
#include <algorithm>

#include "core.h"

/** rotary(x, cos, sin, y, T, H, dh, backward): x [B, T, H, dh], cos and sin [T, dh]; backward multiplies by the transposed rotation. */
GRAFT_EXPORT(rotary) {
  using namespace graft;
  Scratch scratch;
  const int64_t count = args.count(0), T = args.integer(4), H = args.integer(5), dh = args.integer(6), half = dh / 2;
  const bool backward = args.flag(7);
  const float *x = args.f32(0, scratch), *cos = args.f32(1, scratch, elements({T, dh})), *sin = args.f32(2, scratch, elements({T, dh}));
  float* y = args.outF32(3, count);
  if (count != 0 && (elements({T, H, dh}) == 0 || count % (T * H * dh))) fail("rotary: the shapes do not fit");
  if (dh % 2) fail("rotary: the head size %lld is odd", static_cast<long long>(dh));
  if (count == 0) return;
  parallelFor(count / (H * dh), std::max<int64_t>(1, (1 << 13) / (H * dh)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const float *c = cos + i % T * dh, *s = sin + i % T * dh;
      for (int64_t h = 0; h < H; h++) {
        const float *a = x + (i * H + h) * dh, *b = a + half;
        float *u = y + (i * H + h) * dh, *v = u + half;
        if (backward) for (int64_t j = 0; j < half; j++) u[j] = a[j] * c[j] + b[j] * s[half + j], v[j] = b[j] * c[half + j] - a[j] * s[j];
        else for (int64_t j = 0; j < half; j++) u[j] = a[j] * c[j] - b[j] * s[j], v[j] = b[j] * c[half + j] + a[j] * s[half + j];
      }
    }
  });
}
