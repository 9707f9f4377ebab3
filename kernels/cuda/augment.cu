// Random changes of images, as cpu/augment.isa.cc has them. Pixels are four floats on the way, the last unused.
#include "device.cuh"

#include "../common/augmentation.h"
#include "../common/hash32.h"

using graft::Augmentation;
using graft::kBlurReach;

inline float clip(float v) { return v < 0 ? 0.f : v > 1 ? 1.f : v; }
inline float grey(const float* p) { return 0.2989f * p[0] + 0.587f * p[1] + 0.114f * p[2]; }

inline float hueChannel(float from, float h, float v, float chroma) {
  const float t = from + h, k = t - 6.f * floorf(t * (1.f / 6.f));
  float m = k < 4 - k ? k : 4 - k;
  m = m < 1 ? m : 1.f;
  return clip(v - chroma * (m > 0 ? m : 0.f));
}

inline void turnHue(float* p, float turns) {
  const float r = p[0], g = p[1], b = p[2], high = g > b ? g : b, low = g < b ? g : b;
  const float v = r > high ? r : high, chroma = v - (r < low ? r : low), scale = 1 / (chroma > 0 ? chroma : 1.f);
  const float h = (v == r ? (g - b) * scale : v == g ? 2 + (b - r) * scale : 4 + (r - g) * scale) + 6 * turns;
  p[0] = hueChannel(5, h, v, chroma);
  p[1] = hueChannel(3, h, v, chroma);
  p[2] = hueChannel(1, h, v, chroma);
}

/** Changes of colour, one block an image: each thread keeps to its pixels, but for the mean that contrast needs. */
KERNEL(256, augmentColours, const float* x, float* image, const Augmentation* draws, int one, int n) {
  const Augmentation& o = draws[one ? 0 : blockIdx.x];
  x += Index(blockIdx.x) * n * 3, image += Index(blockIdx.x) * n * 4;
  const int first = int(threadIdx.x);
  for (int i = first; i < n; i += 256) {
    for (int c = 0; c < 3; c++) image[4 * i + c] = clip(x[3 * i + c]);
    image[4 * i + 3] = 0;
  }
  for (int step = 0; step < 5; step++) {
    const int which = o.order[step];
    float mean = 0;
    if (which == 1) {
      double sum = 0;
      for (int i = first; i < n; i += 256) sum += double(grey(image + 4 * i));
      mean = float(overBlock(sum, 0.0, Add()) / double(n)) * (1 - o.contrast);
    }
    for (int i = first; i < n; i += 256) {
      float* p = image + 4 * i;
      if (which == 3) {
        turnHue(p, o.hue);
        continue;
      }
      const float level = which == 2 ? grey(p) * (1 - o.saturation) : mean;
      for (int c = 0; c < 3; c++) {
        if (which == 0) p[c] = clip(p[c] * o.brightness);
        else if (which == 1) p[c] = clip(p[c] * o.contrast + level);
        else if (which == 2) p[c] = clip(p[c] * o.saturation + level);
        else p[c] = clip(expf(o.gamma * logf(p[c] > 1e-8f ? p[c] : 1e-8f)));
      }
    }
  }
}

inline float valueAt(const float* image, int H, int W, int y, int x, int c) {
  if (y < -(H / 2) || y >= H + H / 2 || x < -(W / 2) || x >= W + W / 2) return 0;
  const int i = y < 0 ? 0 : y >= H ? H - 1 : y, j = x < 0 ? 0 : x >= W ? W - 1 : x;
  return image[4 * (Index(i) * W + j) + c];
}

/** Bilinear samples of the edge-padded image over its area and what the blur reads beyond: [H + 2 reach, W + 2 reach, 4] an image. */
KERNEL(256, augmentWarp, const float* image, float* out, const Augmentation* draws, int one, int H, int W, Index total) {
  const Index at = threadNumber();
  if (at >= total) return;
  const int w = W + 2 * kBlurReach, h = H + 2 * kBlurReach, c = int(at & 3), j = int(at / 4 % w) - kBlurReach, i = int(at / 4 / w % h) - kBlurReach;
  const Index b = at / 4 / w / h;
  const Augmentation& o = draws[one ? 0 : b];
  image += b * H * W * 4;
  const float cy = 0.5f * float(H - 1), cx = 0.5f * float(W - 1), dy = float(i) - cy - o.dy, dx = float(j) - cx - o.dx;
  const float y = o.cosine * dy - o.sine * dx + cy, x = o.cosine * dx + o.sine * dy + cx, fy = floorf(y), fx = floorf(x);
  const int y0 = int(fy), x0 = int(fx);
  const float top = valueAt(image, H, W, y0, x0, c), right = valueAt(image, H, W, y0, x0 + 1, c);
  const float below = valueAt(image, H, W, y0 + 1, x0, c), both = valueAt(image, H, W, y0 + 1, x0 + 1, c);
  const float upper = top + (right - top) * (x - fx), lower = below + (both - below) * (x - fx);
  out[at] = upper + (lower - upper) * (y - fy);
}

inline float blurred(const float* in, Index step, const float* taps) {
  return taps[0] * in[0] + taps[1] * (in[-step] + in[step]) + taps[2] * (in[-2 * step] + in[2 * step]);
}

/** Along the rows: [H + 2 reach, W, 4] an image. */
KERNEL(256, augmentBlurRows, const float* warped, float* rows, const Augmentation* draws, int one, int H, int W, Index total) {
  const Index at = threadNumber();
  if (at >= total) return;
  const int w = W + 2 * kBlurReach, h = H + 2 * kBlurReach;
  const Index row = at / 4 / W;
  rows[at] = blurred(warped + 4 * (row * w + kBlurReach + at / 4 % W) + (at & 3), 4, draws[one ? 0 : row / h].taps);
}

/** Along the columns, mirrored and clipped: [H, W, 3] an image. */
KERNEL(256, augmentBlurColumns, const float* rows, float* y, const Augmentation* draws, int one, int H, int W, Index total) {
  const Index at = threadNumber();
  if (at >= total) return;
  const int c = int(at % 3), j = int(at / 3 % W), i = int(at / 3 / W % H), h = H + 2 * kBlurReach;
  const Index b = at / 3 / W / H;
  const Augmentation& o = draws[one ? 0 : b];
  y[at] = clip(blurred(rows + 4 * ((b * h + kBlurReach + i) * W + (o.flip ? W - 1 - j : j)) + c, Index(4) * W, o.taps));
}

/** y ← clip(y + N(0, noise²)): elements p and p + half of an image share a radius and an angle. */
KERNEL(256, augmentNoise, float* y, const Augmentation* draws, int one, int n, Index total) {
  const Index at = threadNumber();
  if (at >= total) return;
  const int half = n / 2;
  const Index b = at / half, p = at % half;
  const Augmentation& o = draws[one ? 0 : b];
  if (o.noise <= 0) return;
  const uint32_t hash = graft::hash32(graft::hash32(uint32_t(b * half + p) ^ o.key0) + o.key1), k = graft::hash32(hash + o.key0);
  const float radius = o.noise * sqrtf(-2.f * logf(float(int(hash >> 8) + 1) * 5.9604644775390625e-8f));
  const float a = float(int(k >> 8) - 0x800000) * (0.78539816f * 1.1920928955078125e-7f), s = a * a;
  const float sine = a * (1.f + s * (-1.6666667e-1f + s * (8.3333310e-3f + s * -1.9840874e-4f)));
  const float even = 1.f + s * (-0.5f + s * (4.1666660e-2f + s * (-1.3888873e-3f + s * 2.4801587e-5f)));
  const float cosine = k & 2 ? -even : even;
  float *u = y + b * n + p, *v = u + half;
  *u = clip(*u + radius * (k & 1 ? sine : cosine));
  *v = clip(*v + radius * (k & 1 ? cosine : sine));
}
