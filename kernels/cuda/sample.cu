// A token from each row of logits. Probabilities are whole numbers here, multiples of 2^-44 of the largest: sums do not depend on the order of threads.
#include "device.cuh"
#include "sample.h"

typedef unsigned long long Weight;
constexpr double kOne = 17592186044416.0;  // 2^44: the weights of 2^19 tokens fit 63 bits

/** Whole numbers in the order of floats. */
inline uint32_t keyOf(float x) {
  const uint32_t bits = __float_as_uint(x + 0.f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

inline float floatOf(uint32_t key) { return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key); }

struct Row {
  const float* logits;
  const Sampling& s;
  double most;
  uint32_t least = 0;  // key of the last of the top k

  double score(float x) const { return double(x) / s.temperature - most; }
  bool listed(float x) const { return x > -INFINITY && keyOf(x) >= least; }
  Weight weight(float x) const { return listed(x) ? Weight(exp(score(x)) * kOne + 0.5) : 0; }
};

/** Finds a key digit by digit: `add` puts keys with the digits so far into 256 sums, `choose` takes a digit by them. */
template <class AddTo, class Choose>
inline uint32_t searchKey(const Row& row, Weight* sums, const AddTo& addTo, const Choose& choose) {
  SHARED(uint32_t, chosen, 1);
  uint32_t key = 0, known = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    sums[threadIdx.x] = 0;
    __syncthreads();
    for (Index i = threadIdx.x; i < row.s.n; i += 256) {
      const uint32_t own = keyOf(row.logits[i]);
      if ((own & known) == key) atomicAdd(&sums[own >> shift & 255], addTo(row.logits[i]));
    }
    __syncthreads();
    if (threadIdx.x == 0) chosen[0] = choose();
    __syncthreads();
    key |= chosen[0] << shift, known |= 255u << shift;
    __syncthreads();
  }
  return key;
}

/** Σ over the threads before this one; `all` becomes the sum over all. */
inline Weight before(Weight own, Weight* sums, Weight& all) {
  sums[threadIdx.x] = own;
  __syncthreads();
  Weight here = 0;
  all = 0;
  for (unsigned t = 0; t < 256; t++) {
    if (t == threadIdx.x) here = all;
    all += sums[t];
  }
  __syncthreads();  // sums may be used again
  return here;
}

/** Blocks: [rows]. scores: ln p of the token among those it was drawn from. */
KERNEL(256, sample, const float* logits, const double* uniforms, int32_t* tokens, double* scores, Sampling s) {
  SHARED(Weight, sums, 256);
  Row row = {logits + Index(blockIdx.x) * s.n, s, 0};
  float top = -INFINITY;
  for (Index i = threadIdx.x; i < s.n; i += 256) top = Larger()(top, row.logits[i]);
  top = overBlock(top, -INFINITY, Larger());
  row.most = double(top) / s.temperature;
  if (threadIdx.x == 0) tokens[blockIdx.x] = -1, scores[blockIdx.x] = NAN;
  if (!(top > -INFINITY && top < INFINITY)) return;

  Weight left = Weight(s.topK), passed = 0;  // thread 0's
  if (s.topK > 0 && s.topK < s.n)
    row.least = searchKey(row, sums, [](float) { return Weight(1); }, [&] {
      uint32_t digit = 255;
      for (; digit > 0 && sums[digit] < left; digit--) left -= sums[digit];
      return digit;
    });

  // The nucleus: all that lies above `border`, and of equals of it the first so many.
  uint32_t border = 0;
  Index equals = s.n;
  SHARED(Index, kept, 1);
  Weight total, own = 0;
  for (Index i = threadIdx.x; i < s.n; i += 256) own += row.weight(row.logits[i]);
  before(own, sums, total);
  if (s.topP < 1) {
    const Weight bound = Weight((1 - s.topP) * double(total));
    const uint32_t highest = keyOf(top);
    uint32_t found = 0;
    int shift = 32;
    border = searchKey(row, sums, [&](float x) { return row.weight(x); }, [&] {
      // Not beyond the best, of which one stays whatever the bound is.
      shift -= 8;
      const bool along = shift == 24 || found == highest >> (shift + 8);
      uint32_t digit = 0;
      for (; digit < (along ? highest >> shift & 255 : 255) && passed + sums[digit] <= bound; digit++) passed += sums[digit];
      found = found << 8 | digit;
      return digit;
    });
    Weight ties = 0, all;
    for (Index i = threadIdx.x; i < s.n; i += 256) ties += keyOf(row.logits[i]) == border;
    before(ties, sums, all);
    if (threadIdx.x == 0) {
      const Weight one = row.weight(floatOf(border)), dropped = one > 0 ? (bound - passed) / one : 0;
      kept[0] = dropped < all ? Index(all - dropped) : 1;
    }
    __syncthreads();
    equals = kept[0];
  }

  // Each thread has tokens that follow one another.
  const Index part = (s.n + 255) / 256, begin = threadIdx.x * part, end = begin + part < s.n ? begin + part : s.n;
  Weight ties = 0, all;
  for (Index i = begin; i < end; i++) ties += keyOf(row.logits[i]) == border;
  const Weight tiesBefore = before(ties, sums, all);
  const auto weigh = [&](Index i, Weight& seen) -> Weight {
    const float x = row.logits[i];
    const uint32_t key = keyOf(x);
    if (key < border || (key == border && Index(seen++) >= equals)) return 0;
    if (s.minP > 0 && !(exp(row.score(x)) >= s.minP)) return 0;
    return row.weight(x);
  };
  Weight seen = tiesBefore, mine = 0;
  for (Index i = begin; i < end; i++) mine += weigh(i, seen);
  Weight sum = before(mine, sums, all);
  const Weight wanted = Weight(uniforms[blockIdx.x] * double(all)), target = wanted < all ? wanted : all - 1;
  if (target < sum || target >= sum + mine) return;
  seen = tiesBefore;
  for (Index i = begin; i < end; i++) {
    sum += weigh(i, seen);
    if (sum <= target) continue;
    tokens[blockIdx.x] = int32_t(i);
    scores[blockIdx.x] = row.score(row.logits[i]) - log(double(all) / kOne);
    return;
  }
}
