// The gradient of a 2-D convolution to its filter (kernels: conv.isa.cc).
#include "conv.h"

#include "conv-window.h"

namespace graft {
namespace {

/** Output rows that are summed while input and gradient stay in cache. */
int64_t stripRows(const ConvGeometry& g) { return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, g.OW * (g.sh * g.sw * g.cg() + std::min<int64_t>(g.og(), convPanel())))); }

void filterGradient(const ConvGeometry& g, const float* x, const float* dy, float* dw) {
  const Window window = inputWindow(g);
  const Taps taps = forwardTaps(g, window);
  const auto nTaps = int64_t(taps.offsets.size());
  const bool depthwise = g.depthwise();
  const int64_t P = depthwise ? g.C : convPanel(), panels = depthwise ? 1 : roundUp(g.og(), P) / P, depth = depthwise ? nTaps : nTaps * taps.run;
  const int64_t groups = depthwise ? 1 : g.G, columns = groups * panels, partial = columns * depth * P;
  // Images are summed in fixed blocks, so that the result does not depend on the number of threads.
  const int64_t blocks = std::min(g.B, std::max<int64_t>(1, std::min<int64_t>(16, (4 << 20) / partial)));
  Scratch scratch;
  float* sums = scratch.floats(blocks * partial);
  parallelFor(blocks * columns, 1, [&](int64_t begin, int64_t end) {
    Scratch own;
    float* space = own.floats(window.floats());
    float* wide = own.floats(depthwise ? 0 : g.OH * g.OW * P);
    for (int64_t job = begin; job < end; job++) {
      const int64_t block = job / columns, j = job % columns, group = j / panels, column = j % panels * P;
      const int64_t cols = depthwise ? g.C : std::min(P, g.og() - column);
      float* out = sums + job * depth * P;
      std::memset(out, 0, size_t(depth * P) * 4);
      for (int64_t b = g.B * block / blocks; b < g.B * (block + 1) / blocks; b++) {
        const float* image = window.view(x + b * g.H * g.W * g.C, 0, window.rows, space) + group * (depthwise ? 0 : g.cg());
        const float* gradient = dy + b * g.OH * g.OW * g.O + group * (depthwise ? 0 : g.og()) + column;
        int64_t step = g.O;
        if (!depthwise && cols % vectorLanes()) {  // whole vectors are read
          for (int64_t p = 0; p < g.OH * g.OW; p++) {
            std::memcpy(wide + p * P, gradient + p * g.O, size_t(cols) * 4);
            std::memset(wide + p * P + cols, 0, size_t(P - cols) * 4);
          }
          gradient = wide;
          step = P;
        }
        for (int64_t r = 0, strip = stripRows(g); r < g.OH; r += strip)
          for (int64_t t = 0; t < nTaps; t++) {
            const float* from = image + r * g.sh * window.rowStep() + taps.offsets[size_t(t)];
            const float* with = gradient + r * g.OW * step;
            const int64_t rows = std::min(strip, g.OH - r);
            if (depthwise) depthwiseFilter(from, g.sh * window.rowStep(), g.sw * g.C, with, g.OW * step, step, rows, g.OW, g.C, out + t * P);
            else convFilter(from, g.sh * window.rowStep(), g.sw * g.C, with, g.OW * step, step, rows, g.OW, taps.run, cols, out + t * taps.run * P);
          }
      }
    }
  });
  parallelFor(columns * depth, 256, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const int64_t j = row / depth, k = row % depth, tap = depthwise ? k : k / g.cg(), i = depthwise ? 0 : k % g.cg();
      const int64_t first = depthwise ? 0 : j / panels * g.og() + j % panels * P;
      const int64_t cols = depthwise ? g.C : std::min(P, g.og() - j % panels * P);
      for (int64_t o = 0; o < cols; o++) {
        float sum = 0;
        for (int64_t block = 0; block < blocks; block++) sum += sums[block * partial + row * P + o];
        dw[g.weightAt(first + o, i, tap / g.KW, tap % g.KW)] = sum;
      }
    }
  });
}

}  // namespace
}  // namespace graft

/** convFilterGradient(x, dy, dFilter, geometry) */
GRAFT_EXPORT(convFilterGradient) {
  using namespace graft;
  Scratch scratch;
  const ConvGeometry g(args.ints(3));
  const float* x = args.f32(0, scratch, g.inputs());
  filterGradient(g, x, args.f32(1, scratch, g.outputs()), args.outF32(2, g.weights()));
}
