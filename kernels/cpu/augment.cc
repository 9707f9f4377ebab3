#include "augment.h"

#include <vector>

#include "core.h"

namespace graft {

Augmentation decodeAugmentation(const double* f) {
  Augmentation o;
  for (int i = 0; i < 5; i++) o.order[i] = int32_t(f[i]);
  float* const values[] = {&o.brightness, &o.contrast, &o.saturation, &o.hue, &o.gamma, &o.cosine, &o.sine, &o.dx, &o.dy,
                           o.taps, o.taps + 1, o.taps + 2, &o.noise};
  for (int i = 0; i < 13; i++) *values[i] = float(f[5 + i]);
  o.flip = f[18] != 0;
  o.key0 = uint32_t(f[19]);
  o.key1 = uint32_t(f[20]);
  return o;
}

}  // namespace graft

using namespace graft;

/** augment(x, y, H, W, draws): x and y [B, H, W, 3]; draws: a Float64Array of `kFields` numbers an image, or once for all. */
GRAFT_EXPORT(augment) {
  Scratch scratch;
  const int64_t H = args.integer(2), W = args.integer(3), size = H * W * 3, count = args.count(0), images = size ? count / size : 0;
  const float* x = args.f32(0, scratch, images * size);
  float* y = args.outF32(1, count);
  int64_t bytes = 0;
  const auto* fields = static_cast<const double*>(args.typedArray(4, bytes));
  const int64_t draws = bytes / (kFields * int64_t(sizeof(double)));
  if (draws != 1 && draws != images) fail("augment: %lld draws for %lld images", static_cast<long long>(draws), static_cast<long long>(images));
  parallelFor(images, 1, [&](int64_t begin, int64_t end) {
    Scratch own;
    float* work = own.floats(augmentScratch(H, W));
    for (int64_t b = begin; b < end; b++)
      augmentImage(x + b * size, y + b * size, H, W, decodeAugmentation(fields + (draws == 1 ? 0 : b * kFields)), uint32_t(b * (size / 2)), work);
  });
}
