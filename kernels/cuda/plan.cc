// What a run would take on a GPU, found out without one: the launchers run as they are, over a driver that only counts. Values read back are 0.
#include <cstdlib>
#include <cstring>

#include "memory.h"
#include "plan.h"

namespace graft {
namespace cuda {
namespace {

bool chosen = false;

/** Succeeds and does nothing, whatever function it stands for. */
template <class... A>
int nothing(A...) { return 0; }
template <class... A>
void doNothing(int (*&f)(A...)) { f = nothing<A...>; }

char token;  // what handles point to

int anyHandle(Handle* handle, const void*) { return *handle = &token, 0; }
int anyFunction(Handle* handle, Handle, const char*) { return *handle = &token, 0; }
int oneDevice(int* count) { return *count = 1, 0; }
int name(char* text, int size, int) { return std::strncpy(text, "planned GPU", size_t(size)), 0; }
/** An H100's. */
int attribute(int* value, int which, int) {
  *value = which == kMajor ? 9 : which == kMinor ? 0 : which == kProcessors ? 132 : which == kSharedOptIn ? 227 << 10 : 0;
  return 0;
}
int memoryThereIs(size_t* available, size_t* total) { return *available = *total = size_t(1) << 60, 0; }
int takeAddresses(uint64_t* address, size_t bytes) {
  static uint64_t next = uint64_t(1) << 40;
  *address = next;
  next += (bytes + 511) & ~size_t(511);
  return 0;
}
int takeHost(void** memory, size_t bytes) { return (*memory = std::calloc(bytes, 1)) ? 0 : int(kOutOfMemory); }
int zeros(void* to, uint64_t, size_t bytes, Handle) { return std::memset(to, 0, bytes), 0; }
int firstAlgorithm(Handle, Handle, Handle, Handle, Handle, Handle, Handle, int, Heuristic*, int* found) { return *found = 1, 0; }

}  // namespace

bool planning() { return chosen; }

Driver countingDriver() {
  Driver d;
#define GRAFT_NOTHING(name, parameters) doNothing(d.name);
  GRAFT_CUDA_DRIVER(GRAFT_NOTHING)
  d.cuDeviceGetCount = oneDevice, d.cuDeviceGetName = name, d.cuDeviceGetAttribute = attribute;
  d.cuMemGetInfo_v2 = memoryThereIs, d.cuMemAlloc_v2 = takeAddresses, d.cuMemAllocHost_v2 = takeHost, d.cuMemcpyDtoHAsync_v2 = zeros;
  d.cuModuleLoadData = anyHandle, d.cuModuleGetFunction = anyFunction;
  return d;
}

Compiler countingCompiler() {
  Compiler d;
  GRAFT_CUDA_NVRTC(GRAFT_NOTHING)
  d.nvrtcGetCUBINSize = [](Handle, size_t* bytes) { return *bytes = 0, 0; };
  return d;
}

Blas countingBlas() {
  Blas d;
  GRAFT_CUDA_BLAS(GRAFT_NOTHING)
#undef GRAFT_NOTHING
  d.cublasLtMatmulAlgoGetHeuristic = firstAlgorithm;
  return d;
}

}  // namespace cuda
}  // namespace graft

/** cuda:plan(): from here on nothing is computed, only counted; before cuda:start. Again: the peak is counted from now on. */
GRAFT_EXPORT_AS("cuda:plan", cudaPlan) {
  graft::cuda::chosen = true;
  graft::cuda::counters().peak = graft::cuda::counters().live;
}
