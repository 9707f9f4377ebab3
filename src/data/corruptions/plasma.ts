import type { Rng } from '@graft/kernels/random';

/**
 * A plasma fractal on a torus by the diamond–square algorithm, scaled to [0, 1].
 * @param n side, a power of two
 * @param decay by which the amplitude's root is divided from level to level
 * @returns n·n heights, row by row
 */
export function plasma(n: number, decay: number, rng: Rng): Float64Array {
  const a = new Float64Array(n * n);
  const at = (y: number, x: number): number => a[(y & (n - 1)) * n + (x & (n - 1))];
  for (let step = n, w = 100; step >= 2; step /= 2, w /= decay) {
    const half = step / 2;
    // The amplitude is w², as the published generator has it.
    const wobble = (): number => w * rng.uniform(-w, w);
    for (let y = 0; y < n; y += step) {
      for (let x = 0; x < n; x += step) {
        a[(y + half) * n + x + half] = (at(y, x) + at(y + step, x) + at(y, x + step) + at(y + step, x + step)) / 4 + wobble();
      }
    }
    for (let y = 0; y < n; y += step) {
      for (let x = 0; x < n; x += step) {
        a[y * n + x + half] = (at(y, x) + at(y, x + step) + at(y - half, x + half) + at(y + half, x + half)) / 4 + wobble();
        a[(y + half) * n + x] = (at(y, x) + at(y + step, x) + at(y + half, x - half) + at(y + half, x + half)) / 4 + wobble();
      }
    }
  }
  let low = Infinity, high = -Infinity;
  for (const v of a) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return a.map((v) => (v - low) / (high - low));
}

/** The smallest power of two that is at least `n`. */
export const powerOfTwo = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(2, n)));
