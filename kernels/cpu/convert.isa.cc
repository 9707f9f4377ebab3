#include "convert.h"
#include "simd.h"

namespace graft {
namespace GRAFT_ISA {

void widen(const void* from, int storage, float* out, int64_t n) {
  if (storage == int(Storage::BF16)) {
    auto* x = static_cast<const uint16_t*>(from);
    for (int64_t i = 0; i < n; i++) out[i] = bf16ToFloat(x[i]);
  } else if (storage == int(Storage::F16)) {
    f16ToFloat(static_cast<const uint16_t*>(from), out, n);
  } else if (storage == int(Storage::I32)) {
    auto* x = static_cast<const int32_t*>(from);
    for (int64_t i = 0; i < n; i++) out[i] = float(x[i]);
  } else {
    auto* x = static_cast<const uint8_t*>(from);
    for (int64_t i = 0; i < n; i++) out[i] = float(x[i]);
  }
}

}  // namespace GRAFT_ISA
}  // namespace graft
