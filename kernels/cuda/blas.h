// Matrix products: through cuBLASLt, and of coded weights.
#pragma once

#include <functional>

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

/** A frozen weight in bf16, kept in the place of its own values: `make(own values, place)` when it is first asked for, always the same of a weight. */
Pointer keptInBf16(Buffer& b, const std::function<void(Pointer, Pointer)>& make);

/** Which arguments A and B are; where `given` is set, B is what lies there in g's storage. */
struct Operands { int a = 0, b = 1; Pointer given; };

/** False where cuBLASLt is not there or has no algorithm for it: nothing was done then. */
bool multiplyByBlas(Call& call, const Outputs& o, const Batch& batch, const Gemm& g, const Operands& operands = {});

/** Where A and B have eight neighbours that 16 bytes divide, as Gemm::vectors has it. */
int vectorsOf(const Gemm& g, Pointer a, Pointer b);

/** The product of argument 0 and the codes of argument 1, a coded matrix [rows, columns]. False where they are not read by products: see `decoded`. */
bool multiplyCoded(Call& call, const Outputs& o, const Gemm& g, int64_t rows, int64_t columns);

}  // namespace cuda
}  // namespace graft
