// The rare cases of element-wise operations in double precision, with JavaScript's own rules for odd values.
#pragma once

#include <cmath>
#include <cstdint>

#include "core.h"
#include "elementwise.h"

namespace graft {

/** What a JavaScript Int32Array stores for x. */
inline int32_t toInt32(double x) {
  if (x > -2147483649.0 && x < 2147483648.0) return int32_t(x);
  if (!std::isfinite(x)) return 0;
  return int32_t(uint32_t(int64_t(std::fmod(std::trunc(x), 4294967296.0))));
}

double unaryScalar(Unary op, double x, double p, double q);
double binaryScalar(Binary op, double a, double b);

/** Up to n values of any storage as doubles; step 0 repeats the first. */
void loadDoubles(const Buffer& b, int64_t begin, int64_t step, int64_t n, double* out);
void storeDoubles(Buffer& b, int64_t begin, int64_t n, const double* values);

}  // namespace graft
