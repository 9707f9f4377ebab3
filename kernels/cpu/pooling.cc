#include "pooling.h"

#include <algorithm>
#include <cstring>

#include "core.h"

namespace graft {
namespace {

int64_t imageSize(const PoolGeometry& g) { return g.H * g.W * g.C; }
int64_t outputSize(const PoolGeometry& g) { return elements({g.OH, g.OW, g.C}); }

template <class Pool>
void forward(const PoolGeometry& g, const float* x, float* y, const Pool& pool) {
  parallelFor(g.B * g.OH, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, g.OW * g.C * g.KH * g.KW)), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end;) {
      const int64_t b = row / g.OH, last = std::min(end, (b + 1) * g.OH);
      pool(g, x + b * imageSize(g), row - b * g.OH, last - b * g.OH, y + b * outputSize(g));
      row = last;
    }
  });
}

template <class Gradient>
void backward(const PoolGeometry& g, float* dx, const Gradient& gradient) {
  parallelFor(g.B, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    float* best = scratch.floats(g.C);
    auto* where = static_cast<int32_t*>(scratch.bytes(g.C * 4));
    for (int64_t b = begin; b < end; b++) {
      std::memset(dx + b * imageSize(g), 0, size_t(imageSize(g)) * 4);
      gradient(b, best, where);
    }
  });
}

}  // namespace

PoolGeometry poolGeometry(const std::vector<int64_t>& v) {
  PoolGeometry g;
  if (v.size() != sizeof g / sizeof(int64_t)) fail("pool: %zu numbers of geometry", v.size());
  std::memcpy(&g, v.data(), sizeof g);
  const int64_t image = elements({g.H, g.W, g.C});
  if (image > INT32_MAX) fail("pool: an image of %lld values is too large", static_cast<long long>(image));
  if (g.sh < 1 || g.sw < 1 || g.dh < 1 || g.dw < 1 || g.KH < 0 || g.KW < 0) fail("pool: impossible geometry");
  if (elements({g.B, g.OH, g.sh}) + elements({g.OW, g.sw, g.C}) + elements({g.KH, g.dh}) + elements({g.KW, g.dw}) > int64_t(1) << 40) fail("pool: the geometry is too large");
  return g;
}

}  // namespace graft

/** poolForward(x, y, geometry, average) */
GRAFT_EXPORT(poolForward) {
  using namespace graft;
  Scratch scratch;
  const PoolGeometry g = poolGeometry(args.ints(2));
  const float* x = args.f32(0, scratch, elements({g.B, imageSize(g)}));
  forward(g, x, args.outF32(1, elements({g.B, outputSize(g)})), args.flag(3) ? averagePool : maxPool);
}

/** maxPoolGradient(x, dy, dx, geometry) */
GRAFT_EXPORT(maxPoolGradient) {
  using namespace graft;
  Scratch scratch;
  const PoolGeometry g = poolGeometry(args.ints(3));
  const float *x = args.f32(0, scratch, elements({g.B, imageSize(g)})), *dy = args.f32(1, scratch, elements({g.B, outputSize(g)}));
  float* dx = args.outF32(2, elements({g.B, imageSize(g)}));
  backward(g, dx, [&](int64_t b, float* best, int32_t* where) {
    maxPoolGradient(g, x + b * imageSize(g), dy + b * outputSize(g), dx + b * imageSize(g), best, where);
  });
}

/** averagePoolGradient(dy, dx, geometry) */
GRAFT_EXPORT(averagePoolGradient) {
  using namespace graft;
  Scratch scratch;
  const PoolGeometry g = poolGeometry(args.ints(2));
  const float* dy = args.f32(0, scratch, elements({g.B, outputSize(g)}));
  float* dx = args.outF32(1, elements({g.B, imageSize(g)}));
  backward(g, dx, [&](int64_t b, float*, int32_t*) { averagePoolGradient(g, dy + b * outputSize(g), dx + b * imageSize(g)); });
}
