#include "weighted-sum.h"

namespace graft {
namespace GRAFT_ISA {

#if defined(__GNUC__) && !defined(__clang__)
#define GRAFT_ROUNDED __attribute__((optimize("fp-contract=off")))
#else
#define GRAFT_ROUNDED
#pragma clang fp contract(off)
#endif

GRAFT_ROUNDED void addWeighted(const float* x, double w, double* sums, int64_t n) {
  for (int64_t j = 0; j < n; j++) sums[j] += w * double(x[j]);
}

void divideSums(const double* sums, double divisor, float* out, int64_t n) {
  for (int64_t j = 0; j < n; j++) out[j] = float(sums[j] / divisor);
}

}  // namespace GRAFT_ISA
}  // namespace graft
