// From a .cu file to a function on the GPU: NVRTC at first use, then a cache on disk.
#pragma once

#include <string>

#include "driver.h"

namespace graft {
namespace cuda {

void setCompileTarget(const std::string& sources, const std::string& cache, int major, int minor);
/** @throws Error with the compiler's first complaint */
Handle compiledFunction(const char* file, const char* entry);
/** The binary of `file`.cu in `folder` for an architecture, sm_…. */
std::string compileFor(const std::string& folder, const std::string& file, const std::string& architecture);

}  // namespace cuda
}  // namespace graft
