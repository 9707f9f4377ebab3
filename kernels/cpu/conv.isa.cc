#include "conv.h"

#include "tile.h"

namespace graft {
namespace GRAFT_ISA {

int convPanel() { return kTileColumns; }
int vectorLanes() { return kLanes; }

namespace {

struct Pixels {
  template <int R, int V>
  static void run(int64_t first, const float* x, int64_t step, const int64_t* taps, int64_t nTaps, int64_t length, const float* w,
                  const float* bias, float* y, int64_t yStep, int64_t cols) {
    vf acc[R][V];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) {
      const vf start = bias ? load(bias + v * kLanes) : vf{};
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) acc[r][v] = start;
    }
    for (int64_t t = 0; t < nTaps; t++)
      multiply<R, V>(x + first * step + taps[t], step, 1, w + t * length * kTileColumns, kTileColumns, length, acc);
    y += first * yStep;
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) storeSome(y + r * yStep + v * kLanes, acc[r][v], cols - v * kLanes);
  }
};

struct FilterRows {
  template <int R, int V>
  static void run(int64_t first, const float* x, int64_t xRow, int64_t xStep, const float* dy, int64_t dyRow, int64_t dyStep, int64_t rows,
                  int64_t pixels, float* out) {
    vf acc[R][V];
    out += first * kTileColumns;
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) acc[r][v] = load(out + r * kTileColumns + v * kLanes);
    for (int64_t i = 0; i < rows; i++) multiply<R, V>(x + first + i * xRow, 1, xStep, dy + i * dyRow, dyStep, pixels, acc);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) store(out + r * kTileColumns + v * kLanes, acc[r][v]);
  }
};

}  // namespace

void convRow(const float* x, int64_t step, const int64_t* taps, int64_t nTaps, int64_t run, const float* w, const float* bias, float* y,
             int64_t yStep, int64_t pixels, int64_t cols) {
  if (cols > kLanes) inTiles<Pixels, 2>(pixels, x, step, taps, nTaps, run, w, bias, y, yStep, cols);
  else inTiles<Pixels, 1>(pixels, x, step, taps, nTaps, run, w, bias, y, yStep, cols);
}

void convFilter(const float* x, int64_t xRow, int64_t xStep, const float* dy, int64_t dyRow, int64_t dyStep, int64_t rows, int64_t pixels,
                int64_t run, int64_t cols, float* out) {
  if (cols > kLanes) inTiles<FilterRows, 2>(run, x, xRow, xStep, dy, dyRow, dyStep, rows, pixels, out);
  else inTiles<FilterRows, 1>(run, x, xRow, xStep, dy, dyRow, dyStep, rows, pixels, out);
}

void depthwiseRow(const float* x, int64_t step, const int64_t* taps, int64_t nTaps, const float* w, const float* bias, float* y, int64_t yStep,
                  int64_t pixels, int64_t channels) {
  for (int64_t i = 0; i < pixels; i++, x += step, y += yStep) {
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      vf sum = bias ? load(bias + c) : vf{};
      for (int64_t t = 0; t < nTaps; t++) sum += load(x + taps[t] + c) * load(w + t * channels + c);
      store(y + c, sum);
    }
    for (; c < channels; c++) {
      float sum = bias ? bias[c] : 0;
      for (int64_t t = 0; t < nTaps; t++) sum += x[taps[t] + c] * w[t * channels + c];
      y[c] = sum;
    }
  }
}

void depthwiseFilter(const float* x, int64_t xRow, int64_t xStep, const float* dy, int64_t dyRow, int64_t dyStep, int64_t rows, int64_t pixels,
                     int64_t channels, float* out) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < pixels; j++) {
      const float *a = x + i * xRow + j * xStep, *b = dy + i * dyRow + j * dyStep;
      for (int64_t c = 0; c < channels; c++) out[c] += a[c] * b[c];
    }
}

}  // namespace GRAFT_ISA
}  // namespace graft
