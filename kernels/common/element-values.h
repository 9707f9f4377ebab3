// Element-wise operations by their numbers, on the CPU in double precision and on the GPU in either, with JavaScript's rules for odd values.
// Who includes it has operations.h, the functions of <cmath> and toInt32 before.
#pragma once

namespace graft {

#define GRAFT_BOTH(name)                               \
  inline float name##Of(float x) { return name##f(x); } \
  inline double name##Of(double x) { return name(x); }
GRAFT_BOTH(exp) GRAFT_BOTH(expm1) GRAFT_BOTH(log) GRAFT_BOTH(log1p) GRAFT_BOTH(sqrt) GRAFT_BOTH(tanh) GRAFT_BOTH(erf) GRAFT_BOTH(erfc) GRAFT_BOTH(floor)
GRAFT_BOTH(ceil) GRAFT_BOTH(rint) GRAFT_BOTH(sin) GRAFT_BOTH(cos) GRAFT_BOTH(tan) GRAFT_BOTH(asin) GRAFT_BOTH(acos) GRAFT_BOTH(atan) GRAFT_BOTH(sinh)
GRAFT_BOTH(cosh) GRAFT_BOTH(asinh) GRAFT_BOTH(acosh) GRAFT_BOTH(atanh) GRAFT_BOTH(fabs)
#undef GRAFT_BOTH
inline float fmodOf(float x, float y) { return fmodf(x, y); }
inline double fmodOf(double x, double y) { return fmod(x, y); }
inline float atan2Of(float x, float y) { return atan2f(x, y); }
inline double atan2Of(double x, double y) { return atan2(x, y); }
inline float powOf(float x, float y) { return powf(x, y); }
inline double powOf(double x, double y) { return pow(x, y); }

template <class T>
inline T sigmoid(T x) { return T(1) / (T(1) + expOf(-x)); }
constexpr double kRootHalf = 0.70710678118654752, kRootTwoOverPi = 0.79788456080286536, kOneOverRootTwoPi = 0.39894228040143268;

template <class T>
inline T geluNewInner(T x) { return T(kRootTwoOverPi) * (x + T(0.044715) * x * x * x); }

template <class T>
inline T unaryValue(int op, T x, T p, T q) {
  switch (Unary(op)) {
    case Unary::Abs: return fabsOf(x);
    case Unary::Neg: return -x;
    case Unary::Exp: return expOf(x);
    case Unary::Expm1: return expm1Of(x);
    case Unary::Log: return logOf(x);
    case Unary::Log1p: return log1pOf(x);
    case Unary::Sqrt: return sqrtOf(x);
    case Unary::Rsqrt: return T(1) / sqrtOf(x);
    case Unary::Square: return x * x;
    case Unary::Reciprocal: return T(1) / x;
    case Unary::Sigmoid: return sigmoid(x);
    case Unary::Tanh: return tanhOf(x);
    case Unary::Erf: return erfOf(x);
    case Unary::Softplus: return x > 0 ? x + log1pOf(expOf(-x)) : log1pOf(expOf(x));
    case Unary::Relu: return x <= 0 ? T(0) : x;
    case Unary::Relu6: return x <= 0 ? T(0) : x >= 6 ? T(6) : x;
    case Unary::Elu: return x >= 0 ? x : expm1Of(x);
    case Unary::Selu: return x >= 0 ? T(1.0507009873554805) * x : T(1.7580993408473768) * expm1Of(x);
    case Unary::LeakyRelu: return x < 0 ? p * x : x;
    case Unary::Step: return x > 0 ? T(1) : x != x ? x : p;
    case Unary::Sign: return T((x > 0) - (x < 0));
    case Unary::Floor: return floorOf(x);
    case Unary::Ceil: return ceilOf(x);
    case Unary::Round: return rintOf(x);
    case Unary::ClipByValue: return x > q ? q : x < p ? p : x;
    case Unary::Gelu: return x * T(0.5) * erfcOf(-x * T(kRootHalf));
    case Unary::GeluNew: return T(0.5) * x * (T(1) + tanhOf(geluNewInner(x)));
    case Unary::Silu: return x * sigmoid(x);
    case Unary::Sin: return sinOf(x);
    case Unary::Cos: return cosOf(x);
    case Unary::Tan: return tanOf(x);
    case Unary::Asin: return asinOf(x);
    case Unary::Acos: return acosOf(x);
    case Unary::Atan: return atanOf(x);
    case Unary::Sinh: return sinhOf(x);
    case Unary::Cosh: return coshOf(x);
    case Unary::Asinh: return asinhOf(x);
    case Unary::Acosh: return acoshOf(x);
    case Unary::Atanh: return atanhOf(x);
    case Unary::IsNan: return T(x != x);
    case Unary::IsInf: return T(fabsOf(x) == T(INFINITY));
    case Unary::IsFinite: return T(fabsOf(x) < T(INFINITY));
    case Unary::LogicalNot: return T(x == 0);
    default: return T(NAN);
  }
}

/** JavaScript's: NaN where the exponent is NaN, or |base| is 1 and the exponent infinite. */
template <class T>
inline T power(T a, T b) {
  if (b != b || (fabsOf(a) == T(1) && fabsOf(b) == T(INFINITY))) return T(NAN);
  return powOf(a, b);
}

template <class T>
inline T modulo(T a, T b) {
  const T rest = fmodOf(a, b);
  return (a < 0 && b < 0) || (a >= 0 && b >= 0) ? rest : fmodOf(rest + b, b);
}

template <class T>
inline T geluSlope(T x) { return T(0.5) * erfcOf(-x * T(kRootHalf)) + x * T(kOneOverRootTwoPi) * expOf(T(-0.5) * x * x); }
template <class T>
inline T geluNewSlope(T x) {
  const T t = tanhOf(geluNewInner(x));
  return T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * T(kRootTwoOverPi) * (T(1) + T(3 * 0.044715) * x * x);
}
template <class T>
inline T siluSlope(T x) {
  const T s = sigmoid(x);
  return s * (T(1) + x * (T(1) - s));
}

template <class T>
inline T binaryValue(int op, T a, T b) {
  switch (Binary(op)) {
    case Binary::Add: return a + b;
    case Binary::Sub: return a - b;
    case Binary::Multiply: return a * b;
    case Binary::RealDiv: return a / b;
    case Binary::Maximum: return a > b || a != a ? a : b;
    case Binary::Minimum: return a < b || a != a ? a : b;
    case Binary::SquaredDifference: return (a - b) * (a - b);
    case Binary::Prelu: return a < 0 ? b * a : a;
    case Binary::EluGrad: return b >= 0 ? a : a * (b + T(1));
    case Binary::ReluGrad: return b > 0 ? a : b != b ? b : T(0);
    case Binary::SigmoidGrad: return a * (b * (T(1) - b));
    case Binary::TanhGrad: return a * (T(1) - b * b);
    case Binary::GeluGrad: return a * geluSlope(b);
    case Binary::GeluNewGrad: return a * geluNewSlope(b);
    case Binary::SiluGrad: return a * siluSlope(b);
    case Binary::AddRelu: return a + b > 0 ? a + b : a + b != a + b ? a + b : 0;
    case Binary::Equal: return T(a == b);
    case Binary::NotEqual: return T(a != b);
    case Binary::Less: return T(a < b);
    case Binary::LessEqual: return T(a <= b);
    case Binary::Greater: return T(a > b);
    case Binary::GreaterEqual: return T(a >= b);
    case Binary::LogicalAnd: return a != 0 ? b : a;
    case Binary::LogicalOr: return a != 0 ? a : b;
    case Binary::Pow: return power(a, b);
    case Binary::Mod: return modulo(a, b);
    case Binary::FloorDiv: return floorOf(a / b);
    case Binary::Atan2: return atan2Of(a, b);
    case Binary::BitwiseAnd: return T(toInt32(double(a)) & toInt32(double(b)));
    default: return T(NAN);
  }
}

}  // namespace graft
