import type { Rng } from '@graft/kernels/random';
import { gamma } from '../../deviates.js';
import { byLabel } from './stream.js';

/** No chunk of the stream may be shorter. */
const SHORTEST_CHUNK = 10;
const MOST_TRIES = 1000;

/**
 * Orders rows so that labels come in runs (Gong et al. 2022, NOTE): with C classes the stream has C chunks; each class is dealt
 * out to them by proportions from Dir(δ·1), leaving out chunks that have N/C rows already; inside a chunk each class is
 * contiguous, classes in random order. δ = 0 sorts by label.
 * @param label of every row of the table, by row number
 */
export function dirichletOrder(rows: Uint32Array, label: readonly number[], delta: number, rng: Rng): Uint32Array {
  const sorted = [...byLabel(rows, label).values()];
  if (delta === 0) return Uint32Array.from(sorted.flat());
  const shortest = Math.min(SHORTEST_CHUNK, Math.floor(rows.length / sorted.length / 2));
  for (let n = 0; n < MOST_TRIES; n++) {
    const chunks = deal(sorted, rows.length, delta, rng);
    if (chunks.every((pieces) => pieces.reduce((sum, p) => sum + p.length, 0) >= shortest)) {
      return Uint32Array.from(chunks.flatMap((pieces) => rng.shuffle(pieces).flat()));
    }
  }
  return Uint32Array.from(sorted.flat());
}

/** Chunks of pieces, one for each class. */
function deal(classes: readonly number[][], total: number, delta: number, rng: Rng): number[][][] {
  const C = classes.length;
  const chunks: number[][][] = Array.from({ length: C }, () => []);
  const size = new Float64Array(C);
  for (const members of classes) {
    const shuffled = rng.shuffle([...members]);
    const room = [...size].map((s) => s < total / C);
    const drawn = dirichlet(C, delta, rng).map((p, j) => (room[j] ? p : 0));
    // Where every chunk with a share is full, those with room share alike.
    const weights = drawn.some((p) => p > 0) ? drawn : room.map(Number);
    const sum = weights.reduce((a, b) => a + b, 0);
    const q = weights.map((p) => p / sum);
    let from = 0, share = 0;
    q.forEach((p, j) => {
      share += p;
      const to = j === C - 1 ? shuffled.length : Math.min(shuffled.length, Math.floor(share * shuffled.length + 1e-9));
      chunks[j].push(shuffled.slice(from, to));
      size[j] += to - from;
      from = to;
    });
  }
  return chunks;
}

function dirichlet(n: number, delta: number, rng: Rng): number[] {
  const draws = Array.from({ length: n }, () => gamma(delta, rng));
  const sum = draws.reduce((a, b) => a + b, 0);
  return sum > 0 ? draws.map((d) => d / sum) : draws.map((_, i) => (i === 0 ? 1 : 0));
}
