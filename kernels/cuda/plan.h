// A driver that counts (plan.cc) in the place of NVIDIA's.
#pragma once

#include "driver.h"

namespace graft {
namespace cuda {

bool planning();
Driver countingDriver();
Compiler countingCompiler();
Blas countingBlas();

}  // namespace cuda
}  // namespace graft
