#include "../cpu/augment.h"

#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel colours("augment", "augmentColours"), warp("augment", "augmentWarp"), blurRows("augment", "augmentBlurRows"), blurColumns("augment", "augmentBlurColumns"),
    noise("augment", "augmentNoise");

/** augment(x, y, H, W, draws) */
GRAFT_CUDA(augment) {
  const int64_t H = call.integer(2), W = call.integer(3), n = elements({H, W}), count = call.count(0), B = n ? count / (3 * n) : 0;
  int64_t bytes = 0;
  const auto* fields = static_cast<const double*>(call.typedArray(4, bytes));
  const int64_t draws = bytes / (kFields * int64_t(sizeof(double)));
  if (draws != 1 && draws != B) fail("augment: %lld draws for %lld images", static_cast<long long>(draws), static_cast<long long>(B));
  if (n > INT32_MAX / 4) fail("augment: images of %lld pixels are too large", static_cast<long long>(n));
  std::vector<Augmentation> all;
  for (int64_t b = 0; b < draws; b++) all.push_back(decodeAugmentation(fields + b * kFields));
  const Pointer x = call.f32(0, B * n * 3), y = call.outF32(1, count), table = call.sent(all.data(), int64_t(all.size() * sizeof(Augmentation)));
  const int64_t h = H + 2 * kBlurReach, w = W + 2 * kBlurReach;
  const Pointer image = call.floats(B * n * 4), warped = call.floats(B * h * w * 4), rows = call.floats(B * h * W * 4);
  const int one = draws == 1;
  launch(colours, {B}, 256, 0, x, image, table, one, int(n));
  const auto over = [&](Kernel& kernel, Pointer from, Pointer to, int64_t total) { launch(kernel, {blocks(total, 256)}, 256, 0, from, to, table, one, int(H), int(W), Index(total)); };
  over(warp, image, warped, B * h * w * 4);
  over(blurRows, warped, rows, B * h * W * 4);
  over(blurColumns, rows, y, count);
  launch(noise, {blocks(B * (3 * n / 2), 256)}, 256, 0, y, table, one, int(3 * n), Index(B * (3 * n / 2)));
}
