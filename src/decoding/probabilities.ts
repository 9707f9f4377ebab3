/** ln softmax of scores [V], in place; -∞ stays. */
export function toLogProbabilities(scores: Float32Array): Float32Array {
  let most = -Infinity, sum = 0;
  for (const s of scores) if (s > most) most = s;
  for (const s of scores) sum += Math.exp(s - most);
  const total = most + Math.log(sum);
  for (let i = 0; i < scores.length; i++) scores[i] -= total;
  return scores;
}

/** The index of the largest; of several, the first. */
export function largest(scores: Float32Array): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i] > scores[best]) best = i;
  return best;
}
