import { Rng, weightedSum as entrywiseSum } from '@graft/kernels';
import type { Tensors } from './method.js';

/** τ_i = θ_i − θ₀. */
export function taskVectors({ base, models }: Tensors): Float32Array[] {
  return models.map((theta) => theta.map((v, j) => v - base![j]));
}

/**
 * What makes up for entries that were zeroed: `probability` divides the others by the density (DARE), `norm` scales them to the
 * tensor's former L1 norm (mergekit).
 */
export type Rescale = 'none' | 'probability' | 'norm';

/** Keeps the ⌊density·n⌋ entries of largest magnitude, one at least, the earlier of equals, and zeroes the rest, in place (TIES, step 1). */
export function trim(tau: Float32Array, density: number, rescale: Rescale = 'none'): Float32Array {
  const k = density > 0 ? Math.max(1, Math.floor(density * tau.length)) : 0;
  if (k >= tau.length) return tau;
  const former = norm(tau);
  const magnitudes = tau.map(Math.abs).sort();
  const threshold = k === 0 ? Infinity : magnitudes[tau.length - k];
  let ties = k;
  for (const v of tau) if (Math.abs(v) > threshold) ties--;
  for (let j = 0; j < tau.length; j++) {
    const m = Math.abs(tau[j]);
    if (m < threshold || (m === threshold && ties-- <= 0)) tau[j] = 0;
  }
  return rescaled(tau, density, rescale, former);
}

/** Keeps each entry with probability `density`, in place (DARE, eq. 1). */
export function drop(tau: Float32Array, density: number, rescale: Rescale, rng: Rng): Float32Array {
  const former = norm(tau);
  for (let j = 0; j < tau.length; j++) if (rng.uniform() >= density) tau[j] = 0;
  return rescaled(tau, density, rescale, former);
}

const norm = (tau: Float32Array): number => tau.reduce((sum, v) => sum + Math.abs(v), 0);

function rescaled(tau: Float32Array, density: number, rescale: Rescale, former: number): Float32Array {
  if (rescale === 'none') return tau;
  const divisor = rescale === 'probability' ? density : norm(tau) / former;
  return Number.isFinite(divisor) && divisor > 0 ? tau.map((v) => v / divisor) : tau;
}

/** Σ w_i τ_i, divided by Σ w_i if `normalize`. */
export function weightedSum(taus: readonly Float32Array[], weights: readonly number[], normalize: boolean): Float32Array {
  return entrywiseSum(taus, weights, divisorOf(weights, normalize));
}

export function divisorOf(weights: readonly number[], normalize: boolean): number {
  const total = weights.reduce((a, b) => a + b, 0);
  return normalize && Math.abs(total) >= 1e-8 ? total : 1;
}

/** Elects the sign of Σ w_i τ_i and sums the entries that agree, divided by their weights if `normalize` (TIES, steps 2 and 3). */
export function electedSum(taus: readonly Float32Array[], weights: readonly number[], normalize: boolean): Float32Array {
  const out = new Float32Array(taus[0].length);
  for (let j = 0; j < out.length; j++) {
    let vote = 0;
    for (let i = 0; i < taus.length; i++) vote += weights[i] * taus[i][j];
    const sign = vote >= 0 ? 1 : -1;
    let sum = 0, agreeing = 0;
    for (let i = 0; i < taus.length; i++) {
      const d = weights[i] * taus[i][j];
      if (d * sign <= 0) continue;
      sum += d;
      agreeing += weights[i];
    }
    out[j] = normalize && agreeing !== 0 ? sum / agreeing : sum;
  }
  return out;
}

/** θ₀ + λ m. */
export const addTo = (base: Float32Array, m: Float32Array, lambda: number): Float32Array => m.map((v, j) => base[j] + lambda * v);

export const lambdaOption = { type: 'number', default: 1, describe: 'scale λ of what is added to the base' } as const;
export const normalizeOption = (by: boolean) => ({ type: 'boolean', default: by, describe: 'divide by the sum of the weights' }) as const;
