// Matrix products through cuBLASLt.
#pragma once

#include "gemm.h"
#include "memory.h"

namespace graft {
namespace cuda {

/** How operands go into matrix products: as they are, rounded to TF32 by the tensor cores, or to bf16; sums are float32. */
enum class Precision : int { Single = 0, Tf32 = 1, Bf16 = 2 };
Precision precision();

struct Outputs { Pointer c, add, bias, before; };

/** Matrices of a batch, `step` elements apart from the first on. */
struct Batch { int64_t count = 1, firstA = 0, stepA = 0, firstB = 0, stepB = 0; };

/** The product of arguments 0 and 1, or where `given` is set, of 0 and what is there in g's storage. False where cuBLASLt is not there or has no algorithm for it: nothing was done then. */
bool multiplyByBlas(Call& call, const Outputs& o, const Batch& batch, const Gemm& g, Pointer given = {});

}  // namespace cuda
}  // namespace graft
