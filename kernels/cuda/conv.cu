// Convolutions as matrix products whose first operand is read where the images lie (implicit GEMM); with few channels a group, directly.
#include "columns.cuh"
#include "conv.h"
#include "tile.cuh"

struct Geometry : Conv {
  Geometry(const Conv& c) : Conv(c) {}
  int cg() const { return C / G; }
  int og() const { return O / G; }
  Index weightAt(int o, int i, int tap) const {
    const int kh = tap / KW, kw = tap % KW;
    return hwio ? (Index(kh * KW + kw) * cg() + i) * O + o : ((Index(o) * cg() + i) * KH + kh) * KW + kw;
  }
  /** Where the input pixel is that output pixel `row` of all images reads at a tap, times C; -1 outside the image. */
  Index inputAt(Index row, int tap) const {
    const int ow = int(row % OW), oh = int(row / OW % OH), y = oh * sh - pt + tap / KW * dh, x = ow * sw - pl + tap % KW * dw;
    return y < 0 || y >= H || x < 0 || x >= W ? -1 : ((row / OW / OH * H + y) * W + x) * C;
  }
  /** Where the output pixel is that reads input pixel `row` of all images at a tap, times O; -1 where none does. */
  Index outputAt(Index row, int tap) const {
    const int x = int(row % W) + pl - tap % KW * dw, y = int(row / W % H) + pt - tap / KW * dh, ow = x / sw, oh = y / sh;
    return y < 0 || x < 0 || ow * sw != x || oh * sh != y || oh >= OH || ow >= OW ? -1 : ((row / W / H * OH + oh) * OW + ow) * O;
  }
  Index inputs() const { return Index(B) * H * W; }
  Index outputs() const { return Index(B) * OH * OW; }
  int taps() const { return KH * KW; }
};

/** Element p of what output pixel `row` reads in a group: taps, channels the inner ones. */
inline float patch(const Geometry& g, const float* x, Index row, Index p, int group) {
  const Index at = g.inputAt(row, int(p / g.cg()));
  return at < 0 ? 0.f : x[at + group * g.cg() + p % g.cg()];
}

/** Blocks: [pixels / 64, channels of a group / 64, groups]. */
KERNEL(256, convForward, const float* x, const void* w, int storage, const float* bias, float* y, Conv c) {
  const Geometry g(c);
  const int group = int(blockIdx.z), og = g.og(), cg = g.cg();
  const Index row0 = Index(blockIdx.x) * kTile, column0 = Index(blockIdx.y) * kTile;
  const TileLane lane;
  float sum[4][4] = {};
  multiplyTiles(row0, g.outputs(), column0, og, 0, Index(g.taps()) * cg, true, !g.hwio, [&](Index row, Index p) { return patch(g, x, row, p, group); },
                [&](Index o, Index p) { return loadFloat(w, storage, g.weightAt(group * og + int(o), int(p % cg), int(p / cg))); }, sum);
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      const Index row = row0 + lane.row + i, o = column0 + lane.column + j;
      if (row < g.outputs() && o < og) y[row * g.O + group * og + o] = sum[i][j] + (bias ? bias[group * og + o] : 0.f);
    }
}

KERNEL(256, convInputGradient, const float* dy, const void* w, int storage, float* dx, Conv c) {
  const Geometry g(c);
  const int group = int(blockIdx.z), og = g.og(), cg = g.cg();
  const Index row0 = Index(blockIdx.x) * kTile, column0 = Index(blockIdx.y) * kTile;
  const TileLane lane;
  float sum[4][4] = {};
  multiplyTiles(row0, g.inputs(), column0, cg, 0, Index(g.taps()) * og, true, !g.hwio,
                [&](Index row, Index p) {
                  const Index at = g.outputAt(row, int(p / og));
                  return at < 0 ? 0.f : dy[at + group * og + p % og];
                },
                [&](Index i, Index p) { return loadFloat(w, storage, g.weightAt(group * og + int(p % og), int(i), int(p / og))); }, sum);
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      const Index row = row0 + lane.row + i, channel = column0 + lane.column + j;
      if (row < g.inputs() && channel < cg) dx[row * g.C + group * cg + channel] = sum[i][j];
    }
}

/** Partial sums of the filter's gradient over chunks of the output pixels, laid out as the filter. Blocks: [taps · channels / 64, channels / 64, groups · chunks]. */
KERNEL(256, convFilterGradient, const float* x, const float* dy, double* partial, Index perChunk, Conv c) {
  const Geometry g(c);
  const int group = int(blockIdx.z) % g.G, chunk = int(blockIdx.z) / g.G, og = g.og(), cg = g.cg();
  const Index row0 = Index(blockIdx.x) * kTile, column0 = Index(blockIdx.y) * kTile, begin = chunk * perChunk, all = g.outputs();
  const Index rows = Index(g.taps()) * cg;
  const TileLane lane;
  float sum[4][4] = {};
  multiplyTiles(row0, rows, column0, og, begin, begin + perChunk < all ? begin + perChunk : all, false, false,
                [&](Index p, Index pixel) { return patch(g, x, pixel, p, group); }, [&](Index o, Index pixel) { return dy[pixel * g.O + group * og + o]; }, sum);
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      const Index p = row0 + lane.row + i, o = column0 + lane.column + j;
      if (p < rows && o < og) partial[chunk * rows * g.O + g.weightAt(group * og + int(o), int(p % cg), int(p / cg))] = double(sum[i][j]);
    }
}

// --- few channels a group: a thread an element --------------------------------------------------------------------------------

KERNEL(256, directForward, const float* x, const void* w, int storage, const float* bias, float* y, Conv c) {
  const Geometry g(c);
  const Index at = threadNumber(), row = at / g.O;
  if (row >= g.outputs()) return;
  const int o = int(at % g.O), group = o / g.og(), cg = g.cg();
  float sum = 0;
  for (int tap = 0; tap < g.taps(); tap++) {
    const Index from = g.inputAt(row, tap);
    if (from < 0) continue;
    for (int i = 0; i < cg; i++) sum += x[from + group * cg + i] * loadFloat(w, storage, g.weightAt(o, i, tap));
  }
  y[at] = sum + (bias ? bias[o] : 0.f);
}

KERNEL(256, directInputGradient, const float* dy, const void* w, int storage, float* dx, Conv c) {
  const Geometry g(c);
  const Index at = threadNumber(), row = at / g.C;
  if (row >= g.inputs()) return;
  const int channel = int(at % g.C), cg = g.cg(), group = channel / cg, og = g.og();
  float sum = 0;
  for (int tap = 0; tap < g.taps(); tap++) {
    const Index from = g.outputAt(row, tap);
    if (from < 0) continue;
    for (int o = group * og; o < (group + 1) * og; o++) sum += dy[from + o] * loadFloat(w, storage, g.weightAt(o, channel % cg, tap));
  }
  dx[at] = sum;
}

/** Partial sums [chunks, taps · channels of a group, O] as columns of output channels: blockIdx.z is the tap and channel. */
KERNEL(256, directFilterGradient, const float* x, const float* dy, double* partial, Index perChunk, Conv c) {
  const Geometry g(c);
  const int cg = g.cg(), og = g.og(), p = int(blockIdx.z), tap = p / cg, i = p % cg;
  // As if each tap and channel were a matrix of its own: chunk k of it begins at (k · taps · cg + p) · O.
  foldColumns(g.outputs(), g.O, perChunk, 0, partial + (Index(blockIdx.y) * (g.taps() * cg - 1) + p) * g.O,
              [&](Index row, Index o) {
                const Index from = g.inputAt(row, tap);
                return from < 0 ? 0.0 : double(x[from + o / og * cg + i] * dy[row * g.O + o]);
              }, Add());
}

/** dw [weights] = Σ_chunks of partial [chunks, taps · cg, O], in the filter's own layout. */
KERNEL(256, directFilterFinish, const double* partial, float* dw, Index chunks, Conv c) {
  const Geometry g(c);
  const Index at = threadNumber(), n = Index(g.taps()) * g.cg() * g.O;
  if (at >= n) return;
  double sum = 0;
  for (Index k = 0; k < chunks; k++) sum += partial[k * n + at];
  const int o = int(at % g.O), p = int(at / g.O);
  dw[g.weightAt(o, p % g.cg(), p / g.cg())] = float(sum);
}
