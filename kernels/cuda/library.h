// Finding shared libraries of CUDA at run time.
#pragma once

#include <string>
#include <vector>

namespace graft {
namespace cuda {

/** The first of `names` found in any of the places library.cc lists; null where there is none. */
void* openLibrary(const std::vector<std::string>& names);
void* symbol(void* library, const char* name);

}  // namespace cuda
}  // namespace graft
