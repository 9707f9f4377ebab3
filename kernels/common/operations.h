// Element-wise operations: their names (TensorFlow.js's kernel names, and those of ours) and numbers. The GPU's kernels read this too.
#pragma once

// V: has a float32 loop in unary.isa.cc; S: only the double-precision scalar form.
#define GRAFT_UNARY_OPS(V, S)                                                                                                    \
  V(Abs) V(Neg) V(Exp) V(Expm1) V(Log) V(Log1p) V(Sqrt) V(Rsqrt) V(Square) V(Reciprocal) V(Sigmoid) V(Tanh) V(Erf) V(Softplus)   \
  V(Relu) V(Relu6) V(Elu) V(Selu) V(LeakyRelu) V(Step) V(Sign) V(Floor) V(Ceil) V(Round) V(ClipByValue) V(Gelu) V(GeluNew) V(Silu) \
  S(Sin) S(Cos) S(Tan) S(Asin) S(Acos) S(Atan) S(Sinh) S(Cosh) S(Asinh) S(Acosh) S(Atanh) S(IsNan) S(IsInf) S(IsFinite) S(LogicalNot)

// V: float32 loop in binary.isa.cc; C: comparison or logical operation with a bool result; S: scalar form only.
// GeluGrad(dy, x) and its like: the gradient of the activation from its input x, or output y for Relu, Sigmoid, Tanh, Elu.
#define GRAFT_BINARY_OPS(V, C, S)                                                                                                \
  V(Add) V(Sub) V(Multiply) V(RealDiv) V(Maximum) V(Minimum) V(SquaredDifference) V(Prelu) V(EluGrad) V(ReluGrad) V(SigmoidGrad)  \
  V(TanhGrad) V(GeluGrad) V(GeluNewGrad) V(SiluGrad) V(AddRelu)                                                                             \
  C(Equal) C(NotEqual) C(Less) C(LessEqual) C(Greater) C(GreaterEqual) C(LogicalAnd) C(LogicalOr)                                \
  S(Pow) S(Mod) S(FloorDiv) S(Atan2) S(BitwiseAnd)

namespace graft {

#define GRAFT_NAME(op) op,
enum class Unary : int { GRAFT_UNARY_OPS(GRAFT_NAME, GRAFT_NAME) count };
enum class Binary : int { GRAFT_BINARY_OPS(GRAFT_NAME, GRAFT_NAME, GRAFT_NAME) count };
#undef GRAFT_NAME

}  // namespace graft
