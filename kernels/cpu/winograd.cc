// Winograd convolution: geometry, the filter's transform, and tiles over threads around the kernels of winograd.isa.cc.
#include "winograd-plane.h"

#include <algorithm>
#include <cmath>

#include "conv-window.h"
#include "conv.h"

namespace graft {
namespace {

bool hasForm(const ConvGeometry& g) { return g.KH == 3 && g.KW == 3 && g.sh == 1 && g.sw == 1 && g.dh == 1 && g.dw == 1 && g.G == 1; }

/** What `tiles` tiles take between the transforms: [point, tile, channel] of the input and of the output. */
struct Points {
  int64_t inRow, outRow, inStep, outStep;

  Points(const WinogradPlane& p, int64_t tiles) : inRow(roundUp(p.C, vectorLanes())), outRow(roundUp(p.O, vectorLanes())) {
    if (inRow % 128 == 0) inRow += vectorLanes();
    inStep = spread(tiles * inRow);
    outStep = spread(tiles * outRow);
  }
  /** An odd number of cache lines: points that begin in the same few sets of the cache would push each other out. */
  static int64_t spread(int64_t floats) { return (roundUp(floats, 16) / 16 | 1) * 16; }
};

/** Tiles that are taken through all three steps at once: as fit in the core's own cache, but enough to use what is read of the filter. */
int64_t tilesPerUnit(const WinogradPlane& p) {
  const int64_t fit = (384 << 10) / (4 * kTilePoints * (roundUp(p.C, vectorLanes()) + roundUp(p.O, vectorLanes())));
  const int64_t tiles = std::clamp<int64_t>(roundUp(fit, 14), 28, 112), total = p.tiles(), threads = threadCount();
  const int64_t units = roundUp((total + tiles - 1) / tiles, threads);
  return std::max<int64_t>(1, (total + units - 1) / units);
}

/** Calls f(image, its first row, its first column) for tiles [begin, end). */
template <class F>
void eachTile(const WinogradPlane& p, int64_t begin, int64_t end, const F& f) {
  const int64_t columns = p.tileColumns(), perImage = p.tileRows() * columns;
  for (int64_t t = begin; t < end; t++) f(t / perImage, t % perImage / columns * kTileOut, t % columns * kTileOut);
}

void inputTiles(const WinogradPlane& p, const float* x, int64_t begin, int64_t end, float* u, const Points& s) {
  const auto cut = [](int64_t n) { return std::clamp<int64_t>(n, 0, kTileIn); };
  eachTile(p, begin, end, [&](int64_t b, int64_t row, int64_t column) {
    const int64_t top = row - p.top, left = column - p.left;
    const TileEdges inside{cut(-top), cut(p.H - top), cut(-left), cut(p.W - left)};
    winogradInput(x + ((b * p.H + top) * p.W + left) * p.C, p.W * p.C, inside, p.C, u, s.inStep);
    u += s.inRow;
  });
}

void outputTiles(const WinogradPlane& p, const float* m, const float* bias, int64_t begin, int64_t end, float* y, const Points& s) {
  eachTile(p, begin, end, [&](int64_t b, int64_t row, int64_t column) {
    const TileEdges inside{0, std::min<int64_t>(kTileOut, p.OH - row), 0, std::min<int64_t>(kTileOut, p.OW - column)};
    winogradOutput(m, s.outStep, p.O, bias, y + ((b * p.OH + row) * p.OW + column) * p.O, p.OW * p.O, inside);
    m += s.outRow;
  });
}

}  // namespace

int64_t WinogradPlane::filterFloats() const { return kTilePoints * roundUp(O, convPanel()) * C; }

bool WinogradPlane::pays(bool frozen) const { return B > 0 && C >= 12 && O >= 12 && tiles() >= (frozen ? 32 : 256); }

WinogradPlane forwardPlane(const ConvGeometry& g) { return {hasForm(g) ? g.B : 0, g.H, g.W, g.C, g.OH, g.OW, g.O, g.pt, g.pl}; }

WinogradPlane gradientPlane(const ConvGeometry& g) { return {hasForm(g) ? g.B : 0, g.OH, g.OW, g.O, g.H, g.W, g.C, 2 - g.pt, 2 - g.pl}; }

void transformFilter(const WinogradPlane& p, const std::function<float(int64_t, int64_t, int)>& tap, float* v) {
  // Rows of G: the powers of a point over the product of its distances to the others.
  const double a = std::sqrt(0.5), b = std::sqrt(2.0), n = 1 / 1.5;
  const double G[kTileIn][3] = {{1, 0, 0}, {-n, -n * a, -n / 2}, {-n, n * a, -n / 2}, {n / 4, n * b / 4, n / 2}, {n / 4, -n * b / 4, n / 2}, {0, 0, 1}};
  const int64_t P = convPanel(), panels = roundUp(p.O, P) / P;
  parallelFor(panels * p.C, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++)
      for (int64_t o = 0; o < P; o++) {
        const int64_t channel = row / p.C * P + o, c = row % p.C;
        double half[kTileIn][3];
        for (int i = 0; i < kTileIn; i++)
          for (int k = 0; k < 3; k++) half[i][k] = 0;
        if (channel < p.O)
          for (int k = 0; k < 9; k++)
            for (int i = 0; i < kTileIn; i++) half[i][k % 3] += G[i][k / 3] * double(tap(channel, c, k));
        for (int i = 0; i < kTileIn; i++)
          for (int j = 0; j < kTileIn; j++)
            v[((i * kTileIn + j) * panels * p.C + row) * P + o] = float(half[i][0] * G[j][0] + half[i][1] * G[j][1] + half[i][2] * G[j][2]);
      }
  });
}

void winograd(const WinogradPlane& p, const float* x, const float* v, const float* bias, float* y) {
  const int64_t P = convPanel(), panels = roundUp(p.O, P) / P, perUnit = tilesPerUnit(p), total = p.tiles();
  parallelFor((total + perUnit - 1) / perUnit, 1, [&](int64_t begin, int64_t end) {
    Scratch own;
    const Points s(p, perUnit);
    float *u = own.floats(kTilePoints * s.inStep), *m = own.floats(kTilePoints * s.outStep);
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t first = unit * perUnit, last = std::min(total, first + perUnit);
      inputTiles(p, x, first, last, u, s);
      for (int64_t point = 0; point < kTilePoints; point++)
        for (int64_t j = 0; j < panels; j++)
          winogradProduct(u + point * s.inStep, s.inRow, v + (point * panels + j) * p.C * P, p.C,
                          m + point * s.outStep + j * P, s.outRow, last - first, std::min(P, p.O - j * P));
      outputTiles(p, m, bias, first, last, y, s);
    }
  });
}

}  // namespace graft
