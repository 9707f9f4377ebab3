#include "device.cuh"

/** x cos + rotate_half(x) sin; x [rows of T, H, 2 half], cos and sin [T, 2 half]; backward multiplies by the transposed rotation. A thread a pair. */
KERNEL(256, rotary, const float* x, const float* cosines, const float* sines, float* y, Index T, Index H, Index half, int backward, Index pairs) {
  const Index i = threadNumber();
  if (i >= pairs) return;
  const Index j = i % half, head = i / half, t = head / H % T, at = head * 2 * half + j;
  const float *c = cosines + t * 2 * half, *s = sines + t * 2 * half, a = x[at], b = x[at + half];
  y[at] = backward ? a * c[j] + b * s[half + j] : a * c[j] - b * s[j];
  y[at + half] = backward ? b * c[half + j] - a * s[j] : b * c[half + j] + a * s[half + j];
}
