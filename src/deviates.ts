import type { Rng } from '@graft/kernels/random';

/** A gamma deviate (Marsaglia and Tsang 2000; for shapes below 1 through shape + 1). */
export function gamma(shape: number, rng: Rng): number {
  if (shape < 1) return gamma(shape + 1, rng) * (1 - rng.uniform()) ** (1 / shape);
  const d = shape - 1 / 3, c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = rng.normal(), v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - rng.uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}

/** A beta deviate. */
export function beta(a: number, b: number, rng: Rng): number {
  const x = gamma(a, rng), y = gamma(b, rng);
  return x / (x + y);
}
