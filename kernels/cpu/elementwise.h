// Element-wise operations: their names (TensorFlow.js's kernel names, and those of ours) and their vectorised loops.
#pragma once

#include <cstdint>

#include "dispatch.h"

// V: has a float32 loop in unary.isa.cc; S: only the double-precision scalar form.
#define GRAFT_UNARY_OPS(V, S)                                                                                                    \
  V(Abs) V(Neg) V(Exp) V(Expm1) V(Log) V(Log1p) V(Sqrt) V(Rsqrt) V(Square) V(Reciprocal) V(Sigmoid) V(Tanh) V(Erf) V(Softplus)   \
  V(Relu) V(Relu6) V(Elu) V(Selu) V(LeakyRelu) V(Step) V(Sign) V(Floor) V(Ceil) V(Round) V(ClipByValue) V(Gelu) V(GeluNew) V(Silu) \
  S(Sin) S(Cos) S(Tan) S(Asin) S(Acos) S(Atan) S(Sinh) S(Cosh) S(Asinh) S(Acosh) S(Atanh) S(IsNan) S(IsInf) S(IsFinite) S(LogicalNot)

// V: float32 loop in binary.isa.cc; C: comparison or logical operation with a bool result; S: scalar form only.
// GeluGrad(dy, x) and its like: the gradient of the activation from its input x, or output y for Relu, Sigmoid, Tanh, Elu.
#define GRAFT_BINARY_OPS(V, C, S)                                                                                                \
  V(Add) V(Sub) V(Multiply) V(RealDiv) V(Maximum) V(Minimum) V(SquaredDifference) V(Prelu) V(EluGrad) V(ReluGrad) V(SigmoidGrad)  \
  V(TanhGrad) V(GeluGrad) V(GeluNewGrad) V(SiluGrad) V(AddRelu)                                                                            \
  C(Equal) C(NotEqual) C(Less) C(LessEqual) C(Greater) C(GreaterEqual) C(LogicalAnd) C(LogicalOr)                                \
  S(Pow) S(Mod) S(FloorDiv) S(Atan2) S(BitwiseAnd)

namespace graft {

#define GRAFT_NAME(op) op,
enum class Unary : int { GRAFT_UNARY_OPS(GRAFT_NAME, GRAFT_NAME) count };
enum class Binary : int { GRAFT_BINARY_OPS(GRAFT_NAME, GRAFT_NAME, GRAFT_NAME) count };
#undef GRAFT_NAME

/** A block of rows of n elements; each operand steps by its row stride and, within a row, by 1 or 0. */
struct Rows {
  int64_t rows, n, rowA, stepA, rowB, stepB;
};

/** y = op(x); p and q are the operation's attributes. False where it has no loop. */
GRAFT_VARIANTS(bool, unaryLoop, (int op, const float* x, float* y, int64_t n, float p, float q))
/** y (rows · n, dense) = op(a, b). False where it has no loop. */
GRAFT_VARIANTS(bool, binaryLoopF32, (int op, const float* a, const float* b, float* y, Rows r))
GRAFT_VARIANTS(bool, binaryLoopI32, (int op, const int32_t* a, const int32_t* b, int32_t* y, Rows r))
GRAFT_VARIANTS(bool, compareLoopF32, (int op, const float* a, const float* b, uint8_t* y, Rows r))
GRAFT_VARIANTS(bool, compareLoopI32, (int op, const int32_t* a, const int32_t* b, uint8_t* y, Rows r))
GRAFT_VARIANTS(bool, compareLoopBool, (int op, const uint8_t* a, const uint8_t* b, uint8_t* y, Rows r))
/** y += x. */
GRAFT_VARIANTS(void, accumulate, (const float* x, float* y, int64_t n))
/** y = c ? t : e, each t and e stepping by 1. */
GRAFT_VARIANTS(void, selectLoop, (const uint8_t* c, const int32_t* t, const int32_t* e, int32_t* y, int64_t n))

}  // namespace graft
