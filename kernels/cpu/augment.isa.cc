#include "augment.h"
#include "hash.h"
#include "vmath.h"

namespace graft {
namespace GRAFT_ISA {

VMATH float clip(float v) { return v < 0.f ? 0.f : v > 1.f ? 1.f : v; }
VMATH float grey(float r, float g, float b) { return 0.2989f * r + 0.587f * g + 0.114f * b; }

static void brighten(float* v, int64_t n, float factor) {
  for (int64_t i = 0; i < n; i++) v[i] = clip(v[i] * factor);
}

/** Blends with the mean grey. Summed in eight lanes, always in the same order. */
static void contrast(float* v, int64_t n, float factor) {
  const float *r = v, *g = v + n, *b = v + 2 * n;
  double sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int k = 0; k < 8; k++) sums[k] += double(grey(r[i + k], g[i + k], b[i + k]));
  for (; i < n; i++) sums[0] += double(grey(r[i], g[i], b[i]));
  for (int k = 1; k < 8; k++) sums[0] += sums[k];
  const float mean = float(sums[0] / double(n)) * (1 - factor);
  for (int64_t j = 0; j < 3 * n; j++) v[j] = clip(v[j] * factor + mean);
}

static void saturate(float* __restrict r, float* __restrict g, float* __restrict b, int64_t n, float factor) {
  for (int64_t i = 0; i < n; i++) {
    const float y = grey(r[i], g[i], b[i]) * (1 - factor);
    r[i] = clip(r[i] * factor + y);
    g[i] = clip(g[i] * factor + y);
    b[i] = clip(b[i] * factor + y);
  }
}

/** One channel of HSV turned back to RGB: `from` is 5, 3, 1 for red, green, blue; `h` counts sixths of a turn. */
VMATH float channel(float from, float h, float v, float chroma) {
  const float t = from + h, k = t - 6.f * __builtin_floorf(t * (1.f / 6.f));
  float m = k < 4.f - k ? k : 4.f - k;
  m = m < 1.f ? m : 1.f;
  return clip(v - chroma * (m > 0.f ? m : 0.f));
}

static void turnHue(float* __restrict r, float* __restrict g, float* __restrict b, int64_t n, float turns) {
  for (int64_t i = 0; i < n; i++) {
    const float R = r[i], G = g[i], B = b[i];
    const float gb = G > B ? G : B, low = G < B ? G : B;
    const float v = R > gb ? R : gb, chroma = v - (R < low ? R : low);
    const float scale = 1.f / (chroma > 0.f ? chroma : 1.f);
    float h = v == G ? 2.f + (B - R) * scale : 4.f + (R - G) * scale;
    h = (v == R ? (G - B) * scale : h) + 6.f * turns;
    r[i] = channel(5.f, h, v, chroma);
    g[i] = channel(3.f, h, v, chroma);
    b[i] = channel(1.f, h, v, chroma);
  }
}

static void raise(float* v, int64_t n, float exponent) {
  for (int64_t i = 0; i < n; i++) v[i] = clip(vexp(exponent * vlog(v[i] > 1e-8f ? v[i] : 1e-8f)));
}

static void changeColours(float* v, int64_t n, const Augmentation& o) {
  for (const int32_t which : o.order) {
    if (which == 0) brighten(v, 3 * n, o.brightness);
    if (which == 1) contrast(v, n, o.contrast);
    if (which == 2) saturate(v, v + n, v + 2 * n, n, o.saturation);
    if (which == 3) turnHue(v, v + n, v + 2 * n, n, o.hue);
    if (which == 4) raise(v, 3 * n, o.gamma);
  }
}

// From here on a pixel is four floats, the last unused: bilinear samples are vectors without gathers.
typedef float pixel __attribute__((vector_size(16)));

VMATH pixel pixelAt(const float* image, int64_t H, int64_t W, int64_t y, int64_t x) {
  pixel p = {};
  if (y < -(H / 2) || y >= H + H / 2 || x < -(W / 2) || x >= W + W / 2) return p;
  const int64_t i = y < 0 ? 0 : y >= H ? H - 1 : y, j = x < 0 ? 0 : x >= W ? W - 1 : x;
  __builtin_memcpy(&p, image + 4 * (i * W + j), sizeof p);
  return p;
}

/** Bilinear samples of the edge-padded image (by half its size on each side, 0 beyond) over its area and what the blur reads beyond. */
static void warp(const float* image, float* out, int64_t H, int64_t W, const Augmentation& o) {
  const float cy = 0.5f * float(H - 1), cx = 0.5f * float(W - 1);
  for (int64_t i = -kBlurReach; i < H + kBlurReach; i++) {
    for (int64_t j = -kBlurReach; j < W + kBlurReach; j++, out += 4) {
      const float dy = float(i) - cy - o.dy, dx = float(j) - cx - o.dx;
      const float y = o.cosine * dy - o.sine * dx + cy, x = o.cosine * dx + o.sine * dy + cx;
      const float fy = __builtin_floorf(y), fx = __builtin_floorf(x);
      const int64_t y0 = int64_t(fy), x0 = int64_t(fx);
      const pixel top = pixelAt(image, H, W, y0, x0), right = pixelAt(image, H, W, y0, x0 + 1);
      const pixel below = pixelAt(image, H, W, y0 + 1, x0), both = pixelAt(image, H, W, y0 + 1, x0 + 1);
      const pixel upper = top + (right - top) * (x - fx), lower = below + (both - below) * (x - fx);
      const pixel sum = upper + (lower - upper) * (y - fy);
      __builtin_memcpy(out, &sum, sizeof sum);
    }
  }
}

/** out[i] = Σ_k taps[|k|] in[i + k·step], k from -2 to 2. */
static void blur(const float* __restrict in, float* __restrict out, int64_t n, int64_t step, const float* taps) {
  const float t0 = taps[0], t1 = taps[1], t2 = taps[2];
  for (int64_t i = 0; i < n; i++)
    out[i] = t0 * in[i] + t1 * (in[i - step] + in[i + step]) + t2 * (in[i - 2 * step] + in[i + 2 * step]);
}

/** y ← clip(y + N(0, noise²)), by Box and Muller: elements p and p + half share a radius and an angle. */
static void addNoise(float* __restrict y, int64_t n, const Augmentation& o, uint32_t index) {
  const int64_t half = n / 2;
  float* __restrict z = y + half;
  for (int64_t p = 0; p < half; p++) {
    const uint32_t h = hash32(hash32((index + uint32_t(p)) ^ o.key0) + o.key1), k = hash32(h + o.key0);
    const float radius = o.noise * __builtin_sqrtf(-2.f * vlog(float(int32_t(h >> 8) + 1) * 0x1p-24f));
    // An angle within an eighth of a turn either way; two bits then choose the quadrant.
    const float a = float(int32_t(k >> 8) - 0x800000) * (0.78539816f * 0x1p-23f), s = a * a;
    const float sine = a * (1.f + s * (-1.6666667e-1f + s * (8.3333310e-3f + s * -1.9840874e-4f)));
    const float even = 1.f + s * (-0.5f + s * (4.1666660e-2f + s * (-1.3888873e-3f + s * 2.4801587e-5f)));
    const float cosine = k & 2 ? -even : even;
    y[p] = clip(y[p] + radius * (k & 1 ? sine : cosine));
    z[p] = clip(z[p] + radius * (k & 1 ? cosine : sine));
  }
}

void augmentImage(const float* x, float* y, int64_t H, int64_t W, const Augmentation& o, uint32_t index, float* scratch) {
  const int64_t n = H * W, w = W + 2 * kBlurReach, h = H + 2 * kBlurReach;
  float *planes = scratch, *image = planes + 3 * n, *warped = image + 4 * n, *rows = warped + 4 * h * w;
  for (int64_t c = 0; c < 3; c++)
    for (int64_t i = 0; i < n; i++) planes[c * n + i] = clip(x[3 * i + c]);
  changeColours(planes, n, o);
  for (int64_t i = 0; i < n; i++)
    for (int64_t c = 0; c < 4; c++) image[4 * i + c] = c < 3 ? planes[c * n + i] : 0.f;
  warp(image, warped, H, W, o);
  for (int64_t i = 0; i < h; i++) blur(warped + 4 * (i * w + kBlurReach), rows + 4 * i * W, 4 * W, 4, o.taps);
  blur(rows + 4 * kBlurReach * W, image, 4 * n, 4 * W, o.taps);
  for (int64_t i = 0; i < H; i++)
    for (int64_t j = 0; j < W; j++)
      for (int64_t c = 0; c < 3; c++) y[3 * (i * W + j) + c] = clip(image[4 * (i * W + (o.flip ? W - 1 - j : j)) + c]);
  if (o.noise > 0) addNoise(y, 3 * n, o, index);
}

}  // namespace GRAFT_ISA
}  // namespace graft
