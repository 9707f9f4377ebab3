// Stands in for cuBLASLt: the calls graft makes, by plain loops over matrices that are stored by columns.
#include <cmath>
#include <cstring>
#include <map>

#include "../driver.h"
#include "queue.h"

using namespace graft::cuda;

namespace {

struct Operation { int compute; std::map<int, int32_t> values; uint64_t bias = 0; };
struct Layout { int type; uint64_t rows, columns; int64_t step; int32_t batch = 1; int64_t batchStep = 0; };

constexpr int kInvalid = 7;

float load(const Layout& l, uint64_t address, int64_t i, int compute) {
  uint32_t bits = 0;
  float value;
  if (l.type == kReal32) std::memcpy(&bits, reinterpret_cast<const char*>(address) + i * 4, 4);
  else {
    uint16_t half;
    std::memcpy(&half, reinterpret_cast<const char*>(address) + i * 2, 2);
    if (l.type == kReal16) {
      const int exponent = half >> 10 & 31, fraction = half & 1023;
      value = exponent == 31 ? (fraction ? NAN : INFINITY) : exponent ? std::ldexp(float(1024 + fraction), exponent - 25) : std::ldexp(float(fraction), -24);
      return half & 0x8000 ? -value : value;
    }
    bits = uint32_t(half) << 16;
  }
  if (compute == kComputeTf32) bits = (bits + 0x1000u) & ~0x1fffu;
  std::memcpy(&value, &bits, 4);
  return value;
}

}  // namespace

#define API extern "C" __attribute__((visibility("default"))) int

API cublasLtCreate(Handle* handle) { return *handle = new int(0), 0; }
API cublasLtMatmulDescCreate(Handle* operation, int compute, int scaleType) {
  if (scaleType != kReal32 || (compute != kCompute32 && compute != kComputeTf32)) return kInvalid;
  return *operation = new Operation{compute, {}, 0}, 0;
}
API cublasLtMatmulDescSetAttribute(Handle operation, int attribute, const void* value, size_t bytes) {
  auto* o = static_cast<Operation*>(operation);
  if (attribute == kBiasPointer) return bytes == 8 ? (std::memcpy(&o->bias, value, 8), 0) : kInvalid;
  if (bytes != 4 || (attribute != kTransposeA && attribute != kTransposeB && attribute != kEpilogue)) return kInvalid;
  return std::memcpy(&o->values[attribute], value, 4), 0;
}
API cublasLtMatrixLayoutCreate(Handle* layout, int type, uint64_t rows, uint64_t columns, int64_t step) {
  if (step < int64_t(rows) || rows == 0 || columns == 0) return kInvalid;
  return *layout = new Layout{type, rows, columns, step}, 0;
}
API cublasLtMatrixLayoutSetAttribute(Handle layout, int attribute, const void* value, size_t bytes) {
  auto* l = static_cast<Layout*>(layout);
  if (attribute == kBatchCount && bytes == 4) return std::memcpy(&l->batch, value, 4), 0;
  if (attribute == kBatchStep && bytes == 8) return std::memcpy(&l->batchStep, value, 8), 0;
  return kInvalid;
}
API cublasLtMatmulPreferenceCreate(Handle* preference) { return *preference = new std::map<int, uint64_t>(), 0; }
API cublasLtMatmulPreferenceSetAttribute(Handle preference, int attribute, const void* value, size_t bytes) {
  if (bytes != (attribute == kMostWorkspace ? 8u : 4u)) return kInvalid;
  return std::memcpy(&(*static_cast<std::map<int, uint64_t>*>(preference))[attribute], value, bytes), 0;
}
API cublasLtMatmulPreferenceDestroy(Handle preference) { return delete static_cast<std::map<int, uint64_t>*>(preference), 0; }
API cublasLtMatmulAlgoGetHeuristic(Handle, Handle, Handle a, Handle b, Handle c, Handle d, Handle, int, Heuristic* results, int* found) {
  const auto *x = static_cast<Layout*>(a), *y = static_cast<Layout*>(b), *u = static_cast<Layout*>(c), *v = static_cast<Layout*>(d);
  *found = x->type == y->type && u->type == kReal32 && v->type == kReal32;  // as the library has it: one type for both operands
  results->algorithm.data[0] = 1;
  return 0;
}
API cublasLtMatmul(Handle, Handle operation, const void* alpha, uint64_t a, Handle layoutA, uint64_t b, Handle layoutB, const void* beta, uint64_t c, Handle layoutC, uint64_t d,
                   Handle layoutD, const Algorithm* algorithm, uint64_t, size_t, Handle) {
  auto* o = static_cast<Operation*>(operation);
  const auto x = *static_cast<Layout*>(layoutA), y = *static_cast<Layout*>(layoutB), u = *static_cast<Layout*>(layoutC), z = *static_cast<Layout*>(layoutD);
  const bool ta = o->values[kTransposeA], tb = o->values[kTransposeB], addsBias = o->values[kEpilogue] == kAddBias;
  const int compute = o->compute;
  const auto* bias = reinterpret_cast<const float*>(o->bias);
  const int64_t m = int64_t(ta ? x.columns : x.rows), k = int64_t(ta ? x.rows : x.columns), n = int64_t(tb ? y.rows : y.columns);
  if (algorithm->data[0] != 1 || int64_t(tb ? y.columns : y.rows) != k || int64_t(z.rows) != m || int64_t(z.columns) != n || x.batch != z.batch || y.batch != z.batch) return kInvalid;
  const float scale = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
  return emulator::queue([=] {
    for (int64_t batch = 0; batch < z.batch; batch++)
      for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < m; i++) {
          double sum = 0;
          for (int64_t p = 0; p < k; p++)
            sum += double(load(x, a, batch * x.batchStep + (ta ? i * x.step + p : p * x.step + i), compute)) *
                   double(load(y, b, batch * y.batchStep + (tb ? p * y.step + j : j * y.step + p), compute));
          float value = scale * float(sum);
          if (keep != 0) value += keep * reinterpret_cast<const float*>(c)[batch * u.batchStep + j * u.step + i];
          if (addsBias) value += bias[i];
          reinterpret_cast<float*>(d)[batch * z.batchStep + j * z.step + i] = value;
        }
    return 0;
  });
}
