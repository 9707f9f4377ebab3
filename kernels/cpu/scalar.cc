#include "scalar.h"

#include <algorithm>

#include "convert.h"

namespace graft {

double unaryScalar(Unary op, double x, double p, double q) {
  switch (op) {
    case Unary::Abs: return std::fabs(x);
    case Unary::Neg: return -x;
    case Unary::Exp: return std::exp(x);
    case Unary::Expm1: return std::expm1(x);
    case Unary::Log: return std::log(x);
    case Unary::Log1p: return std::log1p(x);
    case Unary::Sqrt: return std::sqrt(x);
    case Unary::Rsqrt: return 1 / std::sqrt(x);
    case Unary::Square: return x * x;
    case Unary::Reciprocal: return 1 / x;
    case Unary::Sigmoid: return 1 / (1 + std::exp(-x));
    case Unary::Tanh: return std::tanh(x);
    case Unary::Erf: return std::erf(x);
    case Unary::Softplus: return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    case Unary::Relu: return x <= 0 ? 0 : x;
    case Unary::Relu6: return x <= 0 ? 0 : x >= 6 ? 6 : x;
    case Unary::Elu: return x >= 0 ? x : std::expm1(x);
    case Unary::Selu: return x >= 0 ? 1.0507009873554805 * x : 1.7580993408473768 * std::expm1(x);
    case Unary::LeakyRelu: return x < 0 ? p * x : x;
    case Unary::Step: return x > 0 ? 1 : x != x ? x : p;
    case Unary::Sign: return (x > 0) - (x < 0);
    case Unary::Floor: return std::floor(x);
    case Unary::Ceil: return std::ceil(x);
    case Unary::Round: return std::nearbyint(x);
    case Unary::ClipByValue: return x > q ? q : x < p ? p : x;
    case Unary::Gelu: return x * 0.5 * std::erfc(-x * std::sqrt(0.5));
    case Unary::GeluNew: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Unary::Silu: return x / (1 + std::exp(-x));
    case Unary::Sin: return std::sin(x);
    case Unary::Cos: return std::cos(x);
    case Unary::Tan: return std::tan(x);
    case Unary::Asin: return std::asin(x);
    case Unary::Acos: return std::acos(x);
    case Unary::Atan: return std::atan(x);
    case Unary::Sinh: return std::sinh(x);
    case Unary::Cosh: return std::cosh(x);
    case Unary::Asinh: return std::asinh(x);
    case Unary::Acosh: return std::acosh(x);
    case Unary::Atanh: return std::atanh(x);
    case Unary::IsNan: return std::isnan(x);
    case Unary::IsInf: return std::isinf(x);
    case Unary::IsFinite: return std::isfinite(x);
    case Unary::LogicalNot: return x == 0;
    case Unary::count: break;
  }
  fail("unknown unary operation %d", int(op));
}

/** Math.pow: unlike C's, NaN where the exponent is NaN or |base| is 1 and the exponent infinite. */
static double power(double a, double b) {
  if (b != b || (std::fabs(a) == 1 && std::isinf(b))) return NAN;
  return std::pow(a, b);
}

static double modulo(double a, double b) {
  const double rem = std::fmod(a, b);
  return (a < 0 && b < 0) || (a >= 0 && b >= 0) ? rem : std::fmod(rem + b, b);
}

double binaryScalar(Binary op, double a, double b) {
  switch (op) {
    case Binary::Add: return a + b;
    case Binary::Sub: return a - b;
    case Binary::Multiply: return a * b;
    case Binary::RealDiv: return a / b;
    case Binary::Maximum: return a > b || a != a ? a : b;
    case Binary::Minimum: return a < b || a != a ? a : b;
    case Binary::SquaredDifference: return (a - b) * (a - b);
    case Binary::Prelu: return a < 0 ? b * a : a;
    case Binary::EluGrad: return b >= 0 ? a : a * (b + 1);
    case Binary::Equal: return a == b;
    case Binary::NotEqual: return a != b;
    case Binary::Less: return a < b;
    case Binary::LessEqual: return a <= b;
    case Binary::Greater: return a > b;
    case Binary::GreaterEqual: return a >= b;
    case Binary::LogicalAnd: return a != 0 ? b : a;
    case Binary::LogicalOr: return a != 0 ? a : b;
    case Binary::Pow: return power(a, b);
    case Binary::Mod: return modulo(a, b);
    case Binary::FloorDiv: return std::floor(a / b);
    case Binary::Atan2: return std::atan2(a, b);
    case Binary::BitwiseAnd: return toInt32(a) & toInt32(b);
    default: fail("binary operation %d is only for float32", int(op));
  }
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
