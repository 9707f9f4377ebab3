// The parts of NVIDIA's libraries that graft calls, declared here so that nothing of CUDA is needed to compile it. They are looked for
// when the first tensor asks for the GPU (library.cc). Names, types and values are those of cuda.h, nvrtc.h and cublasLt.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace graft {
namespace cuda {

/** An address on the GPU. */
struct Pointer {
  uint64_t address = 0;
  explicit operator bool() const { return address != 0; }
  Pointer plus(int64_t bytes) const { return {address + uint64_t(bytes)}; }
};

using Handle = void*;  // contexts, modules, functions, streams, events, programs

// name, parameters. All return a status, 0 for success.
#define GRAFT_CUDA_DRIVER(F)                                                                                                      \
  F(cuInit, (unsigned flags))                                                                                                     \
  F(cuDriverGetVersion, (int* version))                                                                                           \
  F(cuDeviceGetCount, (int* count))                                                                                               \
  F(cuDeviceGet, (int* device, int ordinal))                                                                                      \
  F(cuDeviceGetName, (char* name, int size, int device))                                                                          \
  F(cuDeviceGetAttribute, (int* value, int attribute, int device))                                                                \
  F(cuDevicePrimaryCtxRetain, (Handle* context, int device))                                                                      \
  F(cuCtxSetCurrent, (Handle context))                                                                                            \
  F(cuMemGetInfo_v2, (size_t* available, size_t* total))                                                                          \
  F(cuMemAlloc_v2, (uint64_t* address, size_t bytes))                                                                             \
  F(cuMemFree_v2, (uint64_t address))                                                                                             \
  F(cuMemAllocHost_v2, (void** memory, size_t bytes))                                                                             \
  F(cuMemFreeHost, (void* memory))                                                                                                \
  F(cuMemcpyHtoDAsync_v2, (uint64_t to, const void* from, size_t bytes, Handle stream))                                           \
  F(cuMemcpyDtoHAsync_v2, (void* to, uint64_t from, size_t bytes, Handle stream))                                                 \
  F(cuMemcpyDtoDAsync_v2, (uint64_t to, uint64_t from, size_t bytes, Handle stream))                                              \
  F(cuMemsetD8Async, (uint64_t to, unsigned char value, size_t count, Handle stream))                                             \
  F(cuStreamCreate, (Handle* stream, unsigned flags))                                                                             \
  F(cuStreamWaitEvent, (Handle stream, Handle event, unsigned flags))                                                             \
  F(cuStreamSynchronize, (Handle stream))                                                                                         \
  F(cuEventCreate, (Handle* event, unsigned flags))                                                                               \
  F(cuEventRecord, (Handle event, Handle stream))                                                                                 \
  F(cuEventQuery, (Handle event))                                                                                                 \
  F(cuEventSynchronize, (Handle event))                                                                                           \
  F(cuModuleLoadData, (Handle* module, const void* image))                                                                        \
  F(cuModuleGetFunction, (Handle* function, Handle module, const char* name))                                                     \
  F(cuFuncSetAttribute, (Handle function, int attribute, int value))                                                              \
  F(cuLaunchKernel, (Handle function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY,           \
                     unsigned blockZ, unsigned sharedBytes, Handle stream, void** arguments, void** extra))                       \
  F(cuStreamBeginCapture_v2, (Handle stream, int mode))                                                                           \
  F(cuStreamEndCapture, (Handle stream, Handle* graph))                                                                           \
  F(cuGraphInstantiateWithFlags, (Handle* run, Handle graph, unsigned long long flags))                                           \
  F(cuGraphLaunch, (Handle run, Handle stream))                                                                                   \
  F(cuGraphExecDestroy, (Handle run))                                                                                             \
  F(cuGraphDestroy, (Handle graph))                                                                                               \
  F(cuGetErrorString, (int status, const char** text))

#define GRAFT_CUDA_NVRTC(F)                                                                                                       \
  F(nvrtcVersion, (int* major, int* minor))                                                                                       \
  F(nvrtcCreateProgram, (Handle* program, const char* source, const char* name, int headers, const char* const* texts,            \
                         const char* const* names))                                                                               \
  F(nvrtcCompileProgram, (Handle program, int count, const char* const* options))                                                 \
  F(nvrtcGetProgramLogSize, (Handle program, size_t* bytes))                                                                      \
  F(nvrtcGetProgramLog, (Handle program, char* text))                                                                             \
  F(nvrtcGetCUBINSize, (Handle program, size_t* bytes))                                                                           \
  F(nvrtcGetCUBIN, (Handle program, char* image))                                                                                 \
  F(nvrtcDestroyProgram, (Handle* program))

/** cuBLASLt's descriptors are handles; an algorithm is 64 bytes, and what a heuristic returns of it 96. */
struct Algorithm { uint64_t data[8]; };
struct Heuristic { Algorithm algorithm; size_t workspace; int state; float waves; int reserved[4]; };

#define GRAFT_CUDA_BLAS(F)                                                                                                        \
  F(cublasLtCreate, (Handle* handle))                                                                                             \
  F(cublasLtMatmulDescCreate, (Handle* operation, int compute, int scaleType))                                                    \
  F(cublasLtMatmulDescSetAttribute, (Handle operation, int attribute, const void* value, size_t bytes))                           \
  F(cublasLtMatrixLayoutCreate, (Handle* layout, int type, uint64_t rows, uint64_t columns, int64_t step))                        \
  F(cublasLtMatrixLayoutSetAttribute, (Handle layout, int attribute, const void* value, size_t bytes))                            \
  F(cublasLtMatmulPreferenceCreate, (Handle* preference))                                                                         \
  F(cublasLtMatmulPreferenceSetAttribute, (Handle preference, int attribute, const void* value, size_t bytes))                    \
  F(cublasLtMatmulPreferenceDestroy, (Handle preference))                                                                         \
  F(cublasLtMatmulAlgoGetHeuristic, (Handle handle, Handle operation, Handle a, Handle b, Handle c, Handle d, Handle preference,  \
                                     int wanted, Heuristic* results, int* found))                                                 \
  F(cublasLtMatmul, (Handle handle, Handle operation, const void* alpha, uint64_t a, Handle layoutA, uint64_t b, Handle layoutB,  \
                     const void* beta, uint64_t c, Handle layoutC, uint64_t d, Handle layoutD, const Algorithm* algorithm,        \
                     uint64_t workspace, size_t bytes, Handle stream))

enum { kReal32 = 0, kReal16 = 2, kRealBf16 = 14 };                                                          // cudaDataType
enum { kCompute32 = 68, kComputeTf32 = 77 };                                                                // cublasComputeType_t
enum { kTransposeA = 3, kTransposeB = 4, kEpilogue = 7, kBiasPointer = 8 };                                 // of an operation
enum { kNoEpilogue = 1, kAddBias = 4 };
enum { kBatchCount = 5, kBatchStep = 6 };                                                                   // of a layout
enum { kMostWorkspace = 1, kAlignmentA = 5 };                                                               // of a preference; A, B, C, D follow

enum { kNotReady = 600, kOutOfMemory = 2 };                                                                 // CUresult
enum { kMajor = 75, kMinor = 76, kProcessors = 16, kSharedOptIn = 97 };                                     // CUdevice_attribute
enum { kMaxDynamicShared = 8 };                                                                             // CUfunction_attribute
enum { kNonBlocking = 1, kNoTiming = 2 };                                                                   // flags of streams, of events

#define GRAFT_CUDA_MEMBER(name, parameters) int(*name) parameters = nullptr;
struct Driver { GRAFT_CUDA_DRIVER(GRAFT_CUDA_MEMBER) };
struct Compiler { GRAFT_CUDA_NVRTC(GRAFT_CUDA_MEMBER) };
struct Blas { GRAFT_CUDA_BLAS(GRAFT_CUDA_MEMBER) };
#undef GRAFT_CUDA_MEMBER

/** The libraries, loaded at the first call. @throws Error that says what was not found and where it comes from */
const Driver& driver();
const Compiler& compiler();
/** Null where cuBLASLt is not found, or GRAFT_CUBLASLT is `none`: our own kernel multiplies then. */
const Blas* blas();

/** Of the emulator's driver alone: refuses arguments that are not of the kinds the kernel's parameters are. Null elsewhere. */
using CheckArguments = int (*)(Handle function, const char* kinds);
CheckArguments checkArguments();

/** @throws Error with the driver's own words where status is not 0 */
void check(int status, const char* what);

}  // namespace cuda
}  // namespace graft
