// Frozen weights that stay in host memory, mapped from their files, and are on the GPU only while they are used.
#pragma once

#include "memory.h"

namespace graft {
namespace cuda {

/** Whether weights are offloaded, and this is one: a matrix of a mapped file. */
bool offloaded(const Buffer& b);
/** The weight on the GPU, until others need its place; those that followed it last time are brought along. */
Pointer onLoan(Buffer& b);

}  // namespace cuda
}  // namespace graft
