const N = 624, M = 397;

/**
 * What `torch.Generator('cpu').manual_seed(seed)` gives `uniform_`: MT19937 (Matsumoto and Nishimura, 1998), of each number the low
 * 24 bits. Projections that are stored as a seed alone are drawn anew from it.
 * @returns `count` numbers in ±bound, after `skip` that are passed over
 */
export function torchUniform(seed: number, skip: number, count: number, bound: number): Float32Array {
  const next = mersenne(seed >>> 0);
  for (let i = 0; i < skip; i++) next();
  const to = Math.fround(bound), width = Math.fround(2 * to);
  return Float32Array.from({ length: count }, () => (next() & 0xffffff) * 2 ** -24 * width - to);
}

/** 32-bit numbers. */
function mersenne(seed: number): () => number {
  const state = new Uint32Array(N);
  state[0] = seed;
  for (let i = 1; i < N; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  let at = N;
  return () => {
    if (at === N) {
      for (let i = 0; i < N; i++) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % N] & 0x7fffffff);
        state[i] = state[(i + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      at = 0;
    }
    let y = state[at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}
