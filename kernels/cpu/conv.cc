// 2-D convolution in NHWC and its gradient to the input: geometry, packing, padding and threads around the kernels of conv.isa.cc.
#include "conv.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "conv-window.h"
#include "winograd-plane.h"

namespace graft {
namespace {

using Geometry = ConvGeometry;

using Packed = std::shared_ptr<float>;

/** A packed filter kept with its buffer, and what it was packed for. */
struct KeptFilter {
  std::vector<int64_t> key;
  Packed values;
};

/** A kept copy is counted as such, one for the call with the memory of tensors. */
Packed packedMemory(int64_t floats, bool kept) {
  if (!kept) return Packed(static_cast<float*>(allocate(floats * 4)), [=](float* p) { release(p, floats * 4); });
  const int64_t bytes = std::max<int64_t>(64, roundUp(floats * 4, 64));
  void* memory = std::aligned_alloc(64, size_t(bytes));
  if (!memory) fail("out of memory: %lld bytes", static_cast<long long>(bytes));
  counters().packed += bytes;
  return Packed(static_cast<float*>(memory), [=](float* p) {
    std::free(p);
    counters().packed -= bytes;
  });
}

/** The filter packed by `pack(w, out)`, kept with frozen weights. */
template <class Pack>
Packed packed(Buffer& w, int direction, const std::vector<int64_t>& key, int64_t floats, const Pack& pack) {
  auto& slot = w.packedFilter[direction];
  if (const auto* kept = static_cast<const KeptFilter*>(slot.get()); kept && kept->key == key) return kept->values;
  Scratch scratch;
  Packed out = packedMemory(floats, w.frozen());
  pack(f32(w, scratch), out.get());
  if (w.frozen()) slot = std::make_shared<KeptFilter>(KeptFilter{key, out});
  return out;
}

/** [group, panel, tap, input channel, panel's output channels]; depthwise: [tap, channel]. */
void packForward(const Geometry& g, const float* w, float* out) {
  if (g.depthwise()) {
    for (int64_t k = 0; k < g.KH * g.KW; k++)
      for (int64_t c = 0; c < g.C; c++) *out++ = w[g.weightAt(c, 0, k / g.KW, k % g.KW)];
    return;
  }
  const int64_t P = convPanel(), panels = roundUp(g.og(), P) / P, depth = g.KH * g.KW * g.cg();
  parallelFor(g.G * panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; j++) {
      float* to = out + j * depth * P;
      const int64_t first = j / panels * g.og() + j % panels * P, n = std::min(P, g.og() - j % panels * P);
      for (int64_t k = 0; k < g.KH * g.KW; k++)
        for (int64_t i = 0; i < g.cg(); i++, to += P)
          for (int64_t o = 0; o < P; o++) to[o] = o < n ? w[g.weightAt(first + o, i, k / g.KW, k % g.KW)] : 0;
    }
  });
}

int64_t packedForwardFloats(const Geometry& g) {
  return g.depthwise() ? g.KH * g.KW * g.C : g.G * roundUp(g.og(), convPanel()) * g.KH * g.KW * g.cg();
}

/** For `taps` of the filter: those that some input pixel is read through. */
int64_t packedBackwardFloats(const Geometry& g, int64_t taps) {
  return g.depthwise() ? taps * g.C : g.G * roundUp(g.cg(), convPanel()) * taps * g.og();
}

/** Floats of a filter as a direction reads it: as it is laid out for tiles, or for rows of pixels. */
int64_t filterFloats(const Geometry& g, int direction, bool frozen) {
  if (const WinogradPlane plane = direction == 0 ? forwardPlane(g) : gradientPlane(g); plane.pays(frozen)) return plane.filterFloats();
  return direction == 0 ? packedForwardFloats(g) : packedBackwardFloats(g, g.KH * g.KW);
}

/** Small images are taken several at a time, so that a panel of a large filter is used more than once while it is in cache. */
int64_t imagesPerUnit(int64_t B, int64_t floats) {
  return std::max<int64_t>(1, std::min<int64_t>(B / (2 * threadCount()), 65536 / std::max<int64_t>(1, floats)));
}

/** Where every pixel stands for itself an image is one long row. */
void joinRows(Geometry& g) {
  if (g.KH * g.KW > 1 || g.sh > 1 || g.sw > 1 || g.H != g.OH || g.W != g.OW) return;
  g.W = g.OW = g.H * g.W;
  g.H = g.OH = 1;
}

/** The convolution of a plane by transformed tiles; tap: see transformFilter. */
void byTiles(const WinogradPlane& plane, int direction, const Geometry& g, const float* x, Buffer& w, const float* bias, float* y) {
  std::vector<int64_t> key = g.filterKey();
  key.push_back(kTilePoints);
  const Packed filter = packed(w, direction, key, plane.filterFloats(), [&](const float* from, float* to) {
    if (direction == 0) transformFilter(plane, [&](int64_t o, int64_t i, int k) { return from[g.weightAt(o, i, k / 3, k % 3)]; }, to);
    else transformFilter(plane, [&](int64_t i, int64_t o, int k) { return from[g.weightAt(o, i, 2 - k / 3, 2 - k % 3)]; }, to);
  });
  winograd(plane, x, filter.get(), bias, y);
}

void forward(Geometry g, const float* x, Buffer& w, const float* bias, float* y) {
  if (const WinogradPlane plane = forwardPlane(g); plane.pays(w.frozen())) return byTiles(plane, 0, g, x, w, bias, y);
  if (g.B >= 2 * threadCount()) joinRows(g);
  const Window window = inputWindow(g);
  const Taps taps = forwardTaps(g, window);
  const int64_t P = convPanel(), panels = roundUp(g.og(), P) / P, depth = g.KH * g.KW * g.cg();
  const Packed filter = packed(w, 0, g.filterKey(), packedForwardFloats(g), [&](const float* from, float* to) { packForward(g, from, to); });
  Scratch scratch;
  float* starts = nullptr;
  if (bias && !g.depthwise()) {
    starts = scratch.floats(g.G * panels * P);
    for (int64_t j = 0; j < g.G * panels * P; j++) {
      const int64_t o = j % (panels * P);
      starts[j] = o < g.og() ? bias[j / (panels * P) * g.og() + o] : 0;
    }
  }
  const bool byImages = g.B >= 2 * threadCount();
  const int64_t images = byImages ? imagesPerUnit(g.B, g.H * g.W * g.C) : 1;
  const int64_t rows = byImages ? g.OH : std::max<int64_t>(1, g.OH * g.B / (4 * threadCount()));
  const int64_t blocks = (g.OH + rows - 1) / rows;
  parallelFor((g.B + images - 1) / images * blocks, 1, [&](int64_t begin, int64_t end) {
    Scratch own;
    float* space = own.floats(images * window.floats());
    auto* views = static_cast<const float**>(own.bytes(images * int64_t(sizeof(float*))));
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t b0 = unit / blocks * images, n = std::min(images, g.B - b0);
      const int64_t r0 = unit % blocks * rows, r1 = std::min(g.OH, r0 + rows);
      for (int64_t b = 0; b < n; b++)
        views[b] = window.view(x + (b0 + b) * g.H * g.W * g.C, r0 * g.sh, (r1 - 1) * g.sh + (g.KH - 1) * g.dh + 1, space + b * window.floats());
      const auto eachRow = [&](const auto& run) {
        for (int64_t b = 0; b < n; b++)
          for (int64_t r = r0; r < r1; r++) run(views[b] + r * g.sh * window.rowStep(), y + ((b0 + b) * g.OH + r) * g.OW * g.O);
      };
      if (g.depthwise())
        eachRow([&](const float* from, float* to) {
          depthwiseRow(from, g.sw * g.C, taps.offsets.data(), int64_t(taps.offsets.size()), filter.get(), bias, to, g.O, g.OW, g.C);
        });
      else
        for (int64_t j = 0; j < g.G * panels; j++) {
          const int64_t group = j / panels, column = j % panels * P;
          eachRow([&](const float* from, float* to) {
            convRow(from + group * g.cg(), g.sw * g.C, taps.offsets.data(), int64_t(taps.offsets.size()), taps.run, filter.get() + j * depth * P,
                    starts ? starts + j * P : nullptr, to + group * g.og() + column, g.O, g.OW, std::min(P, g.og() - column));
          });
        }
    }
  });
}

/**
 * Input pixels (first + stride·t) of one residue class by the stride: all read the output gradient at the same offsets from t,
 * through the taps whose output pixels exist.
 */
struct Phase {
  int64_t first, count;
  std::vector<int64_t> taps, offsets;
};

std::vector<Phase> phases(int64_t size, int64_t taps, int64_t stride, int64_t padding, int64_t dilation) {
  std::vector<Phase> out;
  for (int64_t first = 0; first < std::min(stride, size); first++) {
    Phase phase{first, (size - first + stride - 1) / stride, {}, {}};
    for (int64_t k = 0; k < taps; k++) {
      const int64_t at = first + padding - k * dilation;
      if (at % stride) continue;
      phase.taps.push_back(k);
      phase.offsets.push_back(at / stride);
    }
    out.push_back(std::move(phase));
  }
  return out;
}

/** The part of the output gradient's axis that the phases read: how far before it they begin, and how long. */
void extent(const std::vector<Phase>& list, int64_t& before, int64_t& length) {
  int64_t low = 0, high = 1;
  for (const Phase& p : list)
    for (const int64_t o : p.offsets) {
      low = std::min(low, o);
      high = std::max(high, o + p.count);
    }
  before = -low;
  length = high - low;
}

struct PhasePair {
  const Phase *vertical, *horizontal;
  std::vector<int64_t> offsets;  // into the window
  int64_t firstTap;              // number of packed taps before it
};

/** The filter turned around: [group, panel over input channels, tap by phase, output channel, panel]; depthwise: [tap, channel]. */
void packBackward(const Geometry& g, const std::vector<PhasePair>& pairs, const float* w, float* out) {
  const int64_t P = convPanel(), panels = roundUp(g.cg(), P) / P;
  std::vector<int64_t> taps;
  for (const PhasePair& pair : pairs)
    for (const int64_t kh : pair.vertical->taps)
      for (const int64_t kw : pair.horizontal->taps) taps.push_back(kh * g.KW + kw);
  if (g.depthwise()) {
    for (const int64_t k : taps)
      for (int64_t c = 0; c < g.C; c++) *out++ = w[g.weightAt(c, 0, k / g.KW, k % g.KW)];
    return;
  }
  parallelFor(g.G * panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; j++) {
      float* to = out + j * int64_t(taps.size()) * g.og() * P;
      const int64_t group = j / panels, first = j % panels * P, n = std::min(P, g.cg() - first);
      for (const int64_t k : taps)
        for (int64_t o = 0; o < g.og(); o++, to += P)
          for (int64_t c = 0; c < P; c++) to[c] = c < n ? w[g.weightAt(group * g.og() + o, first + c, k / g.KW, k % g.KW)] : 0;
    }
  });
}

void inputGradient(Geometry g, const float* dy, Buffer& w, float* dx) {
  if (const WinogradPlane plane = gradientPlane(g); plane.pays(w.frozen())) return byTiles(plane, 1, g, dy, w, nullptr, dx);
  joinRows(g);
  const auto vertical = phases(g.H, g.KH, g.sh, g.pt, g.dh), horizontal = phases(g.W, g.KW, g.sw, g.pl, g.dw);
  Window window{0, 0, 0, 0, g.O, g.OH, g.OW};
  extent(vertical, window.top, window.rows);
  extent(horizontal, window.left, window.columns);
  std::vector<PhasePair> pairs;
  int64_t nTaps = 0;
  for (const Phase& v : vertical)
    for (const Phase& h : horizontal) {
      PhasePair pair{&v, &h, {}, nTaps};
      for (const int64_t oy : v.offsets)
        for (const int64_t ox : h.offsets) pair.offsets.push_back((oy + window.top) * window.rowStep() + (ox + window.left) * g.O);
      nTaps += int64_t(pair.offsets.size());
      pairs.push_back(std::move(pair));
    }
  const int64_t P = convPanel(), panels = roundUp(g.cg(), P) / P;
  std::vector<int64_t> key = g.filterKey();
  for (const PhasePair& pair : pairs) key.push_back(pair.firstTap);
  for (const int64_t n : {g.sh, g.sw, g.pt, g.pl, g.dh, g.dw}) key.push_back(n);
  const Packed filter = packed(w, 1, key, packedBackwardFloats(g, nTaps), [&](const float* from, float* to) { packBackward(g, pairs, from, to); });
  const int64_t images = imagesPerUnit(g.B, g.OH * g.OW * g.O);
  parallelFor((g.B + images - 1) / images, 1, [&](int64_t begin, int64_t end) {
    Scratch own;
    float* space = own.floats(images * window.floats());
    auto* views = static_cast<const float**>(own.bytes(images * int64_t(sizeof(float*))));
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t b0 = unit * images, n = std::min(images, g.B - b0);
      for (int64_t b = 0; b < n; b++) views[b] = window.view(dy + (b0 + b) * g.OH * g.OW * g.O, 0, window.rows, space + b * window.floats());
      for (int64_t j = 0; j < (g.depthwise() ? 1 : g.G * panels); j++)
        for (const PhasePair& pair : pairs)
          for (int64_t b = 0; b < n; b++)
            for (int64_t t = 0; t < pair.vertical->count; t++) {
              const int64_t group = j / panels, column = j % panels * P;
              const float* from = views[b] + t * window.rowStep();
              float* to = dx + (((b0 + b) * g.H + pair.vertical->first + t * g.sh) * g.W + pair.horizontal->first) * g.C;
              const auto count = int64_t(pair.offsets.size());
              if (g.depthwise())
                depthwiseRow(from, g.O, pair.offsets.data(), count, filter.get() + pair.firstTap * g.C, nullptr, to, g.sw * g.C,
                             pair.horizontal->count, g.C);
              else
                convRow(from + group * g.og(), g.O, pair.offsets.data(), count, g.og(), filter.get() + (j * nTaps + pair.firstTap) * g.og() * P,
                        nullptr, to + group * g.cg() + column, g.sw * g.C, pair.horizontal->count, std::min(P, g.cg() - column));
            }
    }
  });
}

}  // namespace
}  // namespace graft

/** convForward(x, filter, bias | null, y, geometry) */
GRAFT_EXPORT(convForward) {
  using namespace graft;
  Scratch scratch;
  const Geometry g(args.ints(4));
  const float* x = args.f32(0, scratch, g.inputs());
  if (args.count(1) != g.weights()) fail("conv: the filter holds %lld values, not %lld", static_cast<long long>(args.count(1)), static_cast<long long>(g.weights()));
  forward(g, x, args.buffer(1), args.none(2) ? nullptr : args.f32(2, scratch, g.O), args.outF32(3, g.outputs()));
}

/** convInputGradient(dy, filter, dx, geometry) */
GRAFT_EXPORT(convInputGradient) {
  using namespace graft;
  Scratch scratch;
  const Geometry g(args.ints(3));
  const float* dy = args.f32(0, scratch, g.outputs());
  if (args.count(1) != g.weights()) fail("conv: the filter holds %lld values, not %lld", static_cast<long long>(args.count(1)), static_cast<long long>(g.weights()));
  inputGradient(g, dy, args.buffer(1), args.outF32(2, g.inputs()));
}

/** convFilterBytes(geometry, gradient, frozen): what a copy of the filter takes that one direction reads. */
GRAFT_EXPORT(convFilterBytes) {
  using namespace graft;
  args.returns(double(4 * filterFloats(Geometry(args.ints(0)), args.flag(1) ? 1 : 0, args.flag(2))));
}
