/** Which tokens may be drawn: logits are divided by `temperature` > 0, then cut by top-k (0: all), top-p, min-p and typical, in this order. */
export interface Sampling { temperature: number; topK: number; topP: number; minP: number; typical: number }

export interface Drawn { token: number; score: number }

export interface Drawn { token: number; score: number }

/** Tokens with their probability, by id; they sum to 1. */
export interface Candidates { ids: readonly number[]; p: readonly number[] }

/** What is drawn from: logits [V] through temperature, top-k, top-p, min-p and typical, in this order. */
export function distribution(logits: Float32Array, { temperature, topK, topP, minP, typical }: Sampling): Candidates {
  const border = topK > 0 && topK < logits.length ? logits[largestFew(logits, topK)[topK - 1]] : -Infinity;
  const ids: number[] = [];
  for (let i = 0; i < logits.length; i++) if (logits[i] >= border && logits[i] > -Infinity) ids.push(i);
  let kept = normalised(ids, ids.map((i) => logits[i] / temperature));
  if (topP < 1) kept = only(kept, nucleus(kept, topP));
  if (minP > 0) {
    const least = minP * Math.max(...kept.p);
    kept = only(kept, kept.p.map((p) => p >= least));
  }
  return typical < 1 ? only(kept, mostTypical(kept, typical)) : kept;
}

function normalised(ids: readonly number[], scores: readonly number[]): Candidates {
  const most = scores.reduce((a, b) => Math.max(a, b), -Infinity), e = scores.map((s) => Math.exp(s - most)), sum = e.reduce((a, b) => a + b, 0);
  return { ids, p: e.map((x) => x / sum) };
}

function only({ ids, p }: Candidates, keep: readonly boolean[]): Candidates {
  const sum = p.reduce((s, x, i) => s + (keep[i] ? x : 0), 0);
  return { ids: ids.filter((_, i) => keep[i]), p: p.filter((_, i) => keep[i]).map((x) => x / sum) };
}

/** From the least probable on, tokens are dropped while their sum stays within 1 - P; the best one stays. */
function nucleus({ p }: Candidates, P: number): boolean[] {
  const order = p.map((_, i) => i).sort((a, b) => p[a] - p[b] || b - a), keep = p.map(() => true);
  let sum = 0;
  for (const i of order.slice(0, -1)) {
    sum += p[i];
    if (sum > 1 - P) break;
    keep[i] = false;
  }
  return keep;
}

/** The smallest set of tokens nearest to |−ln p − H| = 0 that holds P of the probability (Meister et al., 2023). */
function mostTypical({ p }: Candidates, P: number): boolean[] {
  const entropy = p.reduce((h, x) => h - x * Math.log(x), 0), off = p.map((x) => Math.abs(-Math.log(x) - entropy));
  const order = p.map((_, i) => i).sort((a, b) => off[a] - off[b] || a - b), keep = p.map(() => false);
  let sum = 0;
  for (const i of order) {
    keep[i] = true;
    sum += p[i];
    if (sum >= P) break;
  }
  return keep;
}

/** By the inverse of the cumulative distribution. @param u in [0, 1) */
export function draw({ ids, p }: Candidates, u: number): Drawn {
  let at = 0;
  for (let sum = p[0]; sum <= u && at < p.length - 1; sum += p[at]) at++;
  return { token: ids[at], score: Math.log(p[at]) };
}

/** Indices of the k largest, descending; of equal ones the first goes first. */
export function largestFew(scores: Float32Array, k: number): number[] {
  const heap: number[] = [];
  let floor = -Infinity;
  for (let i = 0; i < scores.length; i++) {
    if (heap.length === k && scores[i] <= floor) continue;
    let at = heap.length;
    while (at > 0 && scores[heap[at - 1]] < scores[i]) at--;
    heap.splice(at, 0, i);
    if (heap.length > k) heap.pop();
    floor = scores[heap.at(-1)!];
  }
  return heap;
}
