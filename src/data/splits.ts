import { Rng } from '@graft/kernels/random';
import { usageError } from '../errors.js';

/**
 * Divides rows 0 … n−1 at random into parts of given shares (of the rest the last takes what is left); rows keep their order
 * within a part.
 * @param strata a value for each row: every part gets its share of each value
 */
export function randomParts(n: number, shares: readonly number[], seed: number, strata?: readonly unknown[]): Uint32Array[] {
  const groups = strata ? groupsOf(strata) : [Uint32Array.from({ length: n }, (_, i) => i)];
  const rng = new Rng(seed, 'split');
  const parts: number[][] = shares.map(() => []);
  for (const group of groups) {
    rng.shuffle(group);
    let from = 0, share = 0;
    shares.forEach((s, p) => {
      share += s;
      const to = p === shares.length - 1 ? group.length : Math.round(share * group.length);
      for (; from < to; from++) parts[p].push(group[from]);
    });
  }
  return parts.map((p) => Uint32Array.from(p).sort());
}

/** Divides rows in their order at positions. */
export function partsAt(n: number, positions: readonly number[]): Uint32Array[] {
  const ends = [...positions.map((p) => Math.min(p, n)), n];
  return ends.map((end, i) => Uint32Array.from({ length: end - (i === 0 ? 0 : ends[i - 1]) }, (_, k) => (i === 0 ? 0 : ends[i - 1]) + k));
}

/** `0.8` or `0.8,0.1`: the shares of all parts, the last one being what is left. @throws GraftError (usage) */
export function parseShares(text: string, parts: number): number[] {
  const shares = text.split(',').map(Number);
  if (shares.some((s) => !(s > 0 && s < 1))) throw usageError(`--fraction ${text}: shares lie between 0 and 1`);
  const sum = shares.reduce((a, b) => a + b, 0);
  if (shares.length === parts - 1 && sum < 1) return [...shares, 1 - sum];
  if (shares.length === parts && Math.abs(sum - 1) < 1e-9) return shares;
  throw usageError(`--fraction ${text}: ${parts} outputs need ${parts - 1} shares with a sum below 1, or ${parts} with the sum 1`);
}

/** `1000,2000`: where the parts begin. @throws GraftError (usage) */
export function parsePositions(text: string, parts: number): number[] {
  const positions = text.split(',').map(Number);
  if (positions.length !== parts - 1 || positions.some((p, i) => !Number.isInteger(p) || p < 1 || p <= (positions[i - 1] ?? 0))) {
    throw usageError(`--at ${text}: ${parts} outputs need ${parts - 1} rising row numbers`);
  }
  return positions;
}

/** Row numbers by value, groups in the order of their first rows. */
export function groupsOf(values: readonly unknown[]): Uint32Array[] {
  const groups = new Map<unknown, number[]>();
  values.forEach((v, i) => {
    const group = groups.get(v);
    if (group) group.push(i);
    else groups.set(v, [i]);
  });
  return [...groups.values()].map((g) => Uint32Array.from(g));
}
