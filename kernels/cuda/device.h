// The GPU that is computed on: its memory, its one stream, kernels compiled for it.
#pragma once

#include <string>

#include "driver.h"

namespace graft {
namespace cuda {

struct Device {
  std::string name;
  int major = 0, minor = 0;        // of its compute capability
  int processors = 0;
  int sharedBytes = 0;             // that a block may ask for
  Handle stream = nullptr;         // everything is queued on it, in order
};

/** Starts the GPU number `ordinal` at the first call. `sources`: the folder of the .cu files; `cache`: where compiled ones are kept ('' nowhere). */
void start(int ordinal, const std::string& sources, const std::string& cache);
/** @throws Error before `start` */
const Device& device();

// --- memory: size classes that are kept for reuse. A block given back may be handed out at once: the stream keeps the order.

Pointer allocate(int64_t bytes);
void release(Pointer p, int64_t bytes);
/** The same of a block of exactly this size, which no recording owns any more. */
void releaseWhole(Pointer p, int64_t size);

struct Counters { int64_t live = 0, peak = 0, cached = 0, weights = 0, touched = 0, launches = 0; };
Counters& counters();

void toDevice(Pointer to, const void* from, int64_t bytes);
/** Waits for what was queued before. */
void toHostMemory(void* to, Pointer from, int64_t bytes);

// --- kernels ------------------------------------------------------------------------------------------------------------------

/** The KERNEL `entry` of `file`.cu, compiled when it is first launched. One static object a kernel. */
class Kernel {
 public:
  Kernel(const char* file, const char* entry) : file_(file), entry_(entry) {}
  const char* entry() const { return entry_; }
  Handle function();

 private:
  const char *file_, *entry_;
  Handle function_ = nullptr;
};

struct Grid { int64_t x = 1, y = 1, z = 1; };

/** How many blocks of `per` cover n. */
inline int64_t blocks(int64_t n, int64_t per) { return (n + per - 1) / per; }

/** `kinds`: a letter for each argument, as emulator.h has them; `sizes` in bytes. Nothing happens on an empty grid. */
void launchWith(Kernel& kernel, Grid grid, unsigned threads, unsigned sharedBytes, void** arguments, const char* kinds, const unsigned* sizes);

template <class T>
constexpr char kindOf() {
  static_assert(std::is_trivially_copyable<T>::value, "arguments are copied");
  return std::is_same<T, Pointer>::value ? 'p' : std::is_class<T>::value ? 's' : std::is_same<T, double>::value ? 'd' : std::is_same<T, float>::value ? 'f' : sizeof(T) == 8 ? 'l' : sizeof(T) == 4 ? 'i' : '?';
}

/** Queues a kernel. The arguments must have the sizes of its parameters: Index for long long, int, float, Pointer, structures. */
template <class... A>
void launch(Kernel& kernel, Grid grid, unsigned threads, unsigned sharedBytes, A... arguments) {
  static const char kinds[] = {kindOf<A>()..., 0};
  static const unsigned sizes[] = {sizeof(A)...};
  void* list[] = {&arguments...};
  launchWith(kernel, grid, threads, sharedBytes, list, kinds, sizes);
}

}  // namespace cuda
}  // namespace graft
