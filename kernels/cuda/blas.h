// Matrix products: through cuBLASLt, and of coded weights.
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

/** Where A and B have eight neighbours that 16 bytes divide, as Gemm::vectors has it. */
int vectorsOf(const Gemm& g, Pointer a, Pointer b);

/** The product of argument 0 and the codes of argument 1, a coded matrix [rows, columns]. False where they are not read by products: see `decoded`. */
bool multiplyCoded(Call& call, const Outputs& o, const Gemm& g, int64_t rows, int64_t columns);

}  // namespace cuda
}  // namespace graft
