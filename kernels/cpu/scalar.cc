#include "scalar.h"

#include <algorithm>
#include <cmath>

#include "../common/element-values.h"
#include "convert.h"

namespace graft {

double unaryScalar(Unary op, double x, double p, double q) {
  if (op < Unary(0) || op >= Unary::count) fail("unknown unary operation %d", int(op));
  return unaryValue(int(op), x, p, q);
}

double binaryScalar(Binary op, double a, double b) {
  if (op < Binary(0) || op >= Binary::count) fail("unknown binary operation %d", int(op));
  return binaryValue(int(op), a, b);
}

template <class T>
static void load(const void* data, int64_t begin, int64_t step, int64_t n, double* out) {
  auto* from = static_cast<const T*>(data) + begin;
  for (int64_t i = 0; i < n; i++) out[i] = double(from[i * step]);
}

void loadDoubles(const Buffer& b, int64_t begin, int64_t step, int64_t n, double* out) {
  switch (b.storage) {
    case Storage::F32: return load<float>(b.data, begin, step, n, out);
    case Storage::I32: return load<int32_t>(b.data, begin, step, n, out);
    case Storage::BOOL: return load<uint8_t>(b.data, begin, step, n, out);
    default: {
      float wide[256];
      for (int64_t done = 0; done < n; done += 256) {
        const int64_t part = std::min<int64_t>(256, n - done);
        toFloat(b, begin + done * step, step ? part : 1, wide);
        for (int64_t i = 0; i < part; i++) out[done + i] = wide[i * step];
      }
    }
  }
}

void storeDoubles(Buffer& b, int64_t begin, int64_t n, const double* values) {
  if (b.storage == Storage::F32) for (int64_t i = 0; i < n; i++) static_cast<float*>(b.data)[begin + i] = float(values[i]);
  else if (b.storage == Storage::I32) for (int64_t i = 0; i < n; i++) static_cast<int32_t*>(b.data)[begin + i] = toInt32(values[i]);
  else for (int64_t i = 0; i < n; i++) static_cast<uint8_t*>(b.data)[begin + i] = uint8_t(toInt32(values[i]));
}

}  // namespace graft
