// What every kernel of graft-cpu stands on: buffers behind integer handles, scratch memory, the worker pool, exports.
//
// One kernel end to end. C++, kernels/cpu/scale.cc (the Makefile picks up every *.cc):
//
//     #include "core.h"
//     GRAFT_EXPORT(scale) {                       // becomes native.scale(x, out, factor)
//       graft::Scratch scratch;
//       const int64_t n = args.count(0);
//       const float* x = args.f32(0, scratch);    // reads any float storage; f16/bf16 are widened into scratch
//       float* y = args.outF32(1, n);             // throws a JS Error unless handle 1 holds exactly n float32
//       const float s = float(args.number(2));
//       graft::parallelFor(n, 16384, [&](int64_t begin, int64_t end) {
//         for (int64_t i = begin; i < end; i++) y[i] = s * x[i];
//       });
//     }
//
// TypeScript, kernels/src/cpu/scale.ts (imported by kernels/src/cpu/index.ts):
//
//     defineKernel('Scale', ({ inputs, attrs, backend }) => {
//       const y = backend.output(inputs.x.shape, 'float32');
//       backend.native.scale(backend.handle(inputs.x), backend.handle(y), attrs.factor);
//       return y;
//     });
//
// A loop that deserves AVX2/AVX-512 goes into a *.isa.cc file: see dispatch.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

namespace graft {

/** How a buffer's elements are stored. F16 and BF16 exist only in mapped files; tensors over them are float32 to TensorFlow.js. */
enum class Storage : int32_t { F32 = 0, I32 = 1, BOOL = 2, F16 = 3, BF16 = 4 };

inline int64_t sizeOf(Storage s) { return s == Storage::BOOL ? 1 : s == Storage::F16 || s == Storage::BF16 ? 2 : 4; }

/** A mapped file; unmapped when the file is closed and its last buffer is gone. */
struct Region;

/** A copy of a matrix, and how many columns it was laid out for. */
struct PackedOperand {
  std::shared_ptr<void> memory;
  int64_t columns = 0;
};

/** A matrix as codes of few bits (coded.h). */
struct Coded;

/** What a buffer has on a GPU (cuda/memory.h). */
struct Mirror;

struct Buffer {
  void* data = nullptr;
  int64_t count = 0;
  Storage storage = Storage::F32;
  std::shared_ptr<Region> region;   // set: read-only memory of a mapped file
  PackedOperand packed[2][2];       // laid out as GEMM operand: as floats or as bf16, plain or transposed; only for frozen (mapped) weights
  std::shared_ptr<void> packedFilter[2];  // the same for a convolution filter: forward, gradient to the input
  std::shared_ptr<Coded> coded;     // a frozen weight of products, where these are coded
  std::shared_ptr<Mirror> mirror;   // set: the values are, or are also, on a GPU; `data` may be null
  bool frozen() const { return region != nullptr; }
};

// --- memory -------------------------------------------------------------------------------------------------------------------

/** 64-byte aligned memory from size classes that are kept for reuse. Only for the JS thread. */
void* allocate(int64_t bytes);
void release(void* data, int64_t bytes);

/** Bytes, and live buffers; `limit`: what tensors and packed copies may take together, 0 for any. */
struct MemoryCounters { int64_t live = 0, peak = 0, cached = 0, mapped = 0, packed = 0, buffers = 0, limit = 0; };
MemoryCounters& counters();

/** Temporary memory of the current thread, given back at the end of the scope. */
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* bytes(int64_t n);
  float* floats(int64_t n) { return static_cast<float*>(bytes(n * 4)); }

 private:
  size_t block_, used_;
};

/** Mapped values that will not be read soon leave memory; they come back from the file when they are. */
void forgetPages(const Buffer& x);

// --- handles ------------------------------------------------------------------------------------------------------------------

int32_t createBuffer(int64_t count, Storage storage);
int32_t adoptBuffer(std::unique_ptr<Buffer> buffer);
void destroyBuffer(int32_t handle);
/** @throws Error for a handle that is not alive. */
Buffer& buffer(int32_t handle);
/** Brings what a GPU has of a mirrored buffer to `data`; with `write` the GPU's copy is out of date from then on. */
void toHost(Buffer& b, bool write);
/** The elements as float32: in place for F32, else converted into scratch. */
const float* f32(const Buffer& b, Scratch& scratch);

/** Becomes a JS Error with this message. */
struct Error {
  std::string message;
};
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

/** The number of elements of a shape. @throws Error where a size is negative, or the product too large to be one. */
int64_t elements(const int64_t* sizes, size_t rank);
inline int64_t elements(std::initializer_list<int64_t> sizes) { return elements(sizes.begin(), sizes.size()); }
inline int64_t elements(const std::vector<int64_t>& sizes) { return elements(sizes.data(), sizes.size()); }

// --- arguments and exports ----------------------------------------------------------------------------------------------------

/** The arguments of one call from JS. Every accessor checks and throws. */
class Args {
 public:
  explicit Args(const void* info) : info_(info) {}
  int size() const;
  /** Missing, null, undefined or a negative handle. */
  bool none(int i) const;
  /** With its values in host memory, where they may be changed. */
  Buffer& buffer(int i) const;
  /** The same to be read only. */
  const Buffer& input(int i) const;
  int64_t count(int i) const { return graft::buffer(handle(i)).count; }
  /** Float input, any float storage. */
  const float* f32(int i, Scratch& scratch) const { return graft::f32(input(i), scratch); }
  /** Float input that must hold exactly n elements. */
  const float* f32(int i, Scratch& scratch, int64_t n) const;
  const int32_t* i32(int i) const;
  const uint8_t* boolean(int i) const;
  /** Outputs: owned memory of that storage holding exactly n elements. */
  float* outF32(int i, int64_t n) const;
  int32_t* outI32(int i, int64_t n) const;
  uint8_t* outBool(int i, int64_t n) const;
  double number(int i) const;
  /** A whole number that a double holds exactly. */
  int64_t integer(int i) const;
  int32_t handle(int i) const;
  bool flag(int i) const;
  /** A typed array or array of numbers. */
  std::vector<int64_t> ints(int i) const;
  std::vector<Buffer*> buffers(int i) const;
  std::string text(int i) const;
  /** The memory of a typed array. */
  void* typedArray(int i, int64_t& bytes) const;
  /** What the call returns; undefined when never called. */
  void returns(double value) { result = value; hasResult = true; }

  double result = 0;
  bool hasResult = false;

 private:
  Buffer& writable(int i, Storage storage, int64_t n) const;
  const void* info_;
};

using Export = void (*)(Args&);
bool registerExport(const char* name, Export f);

#define GRAFT_EXPORT(name)                                                                        \
  static void graftExport_##name(graft::Args& args);                                              \
  static const bool graftRegistered_##name = graft::registerExport(#name, graftExport_##name);    \
  static void graftExport_##name([[maybe_unused]] graft::Args& args)

// --- threads ------------------------------------------------------------------------------------------------------------------

int threadCount();
void setThreadCount(int n);

/**
 * f(begin, end) over parts of [0, n), each a multiple of `grain` long (but the last). Which thread runs a part is left open, so
 * a part must depend on nothing but its range: sums over a whole axis need partial sums per fixed block, not per part.
 * Calls from within a part run serially.
 */
void parallelFor(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& f);

}  // namespace graft
