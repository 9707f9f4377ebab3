import { linear, tf, type Tensor, type Tensor2D, type Tensor4D } from '@graft/kernels';
import { usageError } from '../errors.js';

/** Keys' cubic kernel (a = -1/2), which is 0 beyond ±2. */
function cubic(x: number): number {
  const s = Math.abs(x);
  if (s >= 2) return 0;
  return s <= 1 ? 1.5 * s ** 3 - 2.5 * s ** 2 + 1 : -0.5 * s ** 3 + 2.5 * s ** 2 - 4 * s + 2;
}

/** n values from m by cubic interpolation, widened where there are fewer (no aliasing); weights of what lies inside add up to 1: [n, m]. */
function resizing(n: number, m: number): Float64Array[] {
  const width = Math.max(1, m / n);
  return Array.from({ length: n }, (_, i) => {
    const centre = ((i + 0.5) * m) / n - 0.5, row = Float64Array.from({ length: m }, (_, k) => cubic((k - centre) / width));
    const sum = row.reduce((a, b) => a + b, 0);
    return row.map((v) => v / sum);
  });
}

/** φ_D along one axis of n pixels: down to ⌊n / D⌋ and up again, as a matrix [n, n]. @throws GraftError (usage) where nothing would be left */
export function lowPassMatrix(n: number, D: number): Tensor2D {
  const m = Math.floor(n / D);
  if (m < 1) throw usageError(`--down ${D}: nothing is left of ${n} pixels`);
  const up = resizing(n, m), down = resizing(m, n);
  return tf.tensor2d(up.map((row) => Array.from({ length: n }, (_, k) => row.reduce((sum, w, j) => sum + w * down[j][k], 0))), [n, n]);
}

/** φ_D of images [B, H, W, C]. */
export function lowPass(x: Tensor, [alongH, alongW]: readonly [Tensor2D, Tensor2D]): Tensor4D {
  const byWidth = linear(tf.transpose(x, [0, 3, 1, 2]), alongW); // [B, C, H, W]
  return tf.transpose(linear(tf.transpose(byWidth, [0, 1, 3, 2]), alongH), [0, 3, 2, 1]) as Tensor4D;
}
