#include "device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "../cpu/core.h"
#include "compile.h"
#include "graph.h"

namespace graft {
namespace cuda {
namespace {

Device* started = nullptr;

constexpr int64_t kStaging = 4 << 20;

/** Memory that the GPU reads and writes without the system's help: copies from and to it are the fast ones. */
void* staging() {
  static void* const memory = [] {
    void* p = nullptr;
    check(driver().cuMemAllocHost_v2(&p, kStaging), "pinned memory");
    return p;
  }();
  return memory;
}

std::map<int64_t, std::vector<uint64_t>>& freeLists() {
  static auto* lists = new std::map<int64_t, std::vector<uint64_t>>();
  return *lists;
}

/** For tests: every tensor has exactly its own memory, used once. */
bool exact() {
  static const bool set = std::getenv("GRAFT_CUDA_EXACT") != nullptr;
  return set;
}

/** Multiples of 512 up to 4 KiB, then eight classes per doubling. */
int64_t classBytes(int64_t bytes) {
  if (exact()) return std::max<int64_t>(bytes, 1);
  if (bytes <= 4096) return std::max<int64_t>(512, (bytes + 511) & ~int64_t(511));
  const int64_t step = int64_t(1) << (63 - __builtin_clzll(uint64_t(bytes - 1)) - 3);
  return (bytes + step - 1) & ~(step - 1);
}

void emptyCache() {
  notWhileRecording("memory that is short");
  check(driver().cuStreamSynchronize(device().stream), "waiting for the GPU");
  for (auto& list : freeLists()) {
    for (const uint64_t address : list.second) driver().cuMemFree_v2(address);
    counters().cached -= list.first * int64_t(list.second.size());
    list.second.clear();
  }
}

}  // namespace

Counters& counters() {
  static Counters c;
  return c;
}

void start(int ordinal, const std::string& sources, const std::string& cache) {
  if (started) return;
  const Driver& d = driver();
  compiler();
  check(d.cuInit(0), "starting the driver");
  int count = 0, number = 0;
  check(d.cuDeviceGetCount(&count), "counting GPUs");
  if (ordinal > 0 && count > 0) ordinal %= count;  // ranks of a machine, each of which may see a card of its own alone
  if (ordinal < 0 || ordinal >= count) fail("cuda: there is no GPU %d: the driver sees %d", ordinal, count);
  check(d.cuDeviceGet(&number, ordinal), "the GPU");
  static Device found;
  char name[256] = "";
  check(d.cuDeviceGetName(name, sizeof name, number), "the GPU's name");
  found.name = name;
  const auto attribute = [&](int which, int& value) { check(d.cuDeviceGetAttribute(&value, which, number), "the GPU's attributes"); };
  attribute(kMajor, found.major), attribute(kMinor, found.minor), attribute(kProcessors, found.processors), attribute(kSharedOptIn, found.sharedBytes);
  if (found.major < 8) fail("cuda: the %s has compute capability %d.%d; graft needs 8.0 (Ampere) or newer, or --backend cpu", name, found.major, found.minor);
  Handle context = nullptr;
  check(d.cuDevicePrimaryCtxRetain(&context, number), "the GPU's context");
  check(d.cuCtxSetCurrent(context), "the GPU's context");
  check(d.cuStreamCreate(&found.stream, kNonBlocking), "a stream");
  setCompileTarget(sources, cache, found.major, found.minor);
  started = &found;
}

const Device& device() {
  if (!started) fail("cuda: the GPU was not started");
  return *started;
}

Pointer allocate(int64_t bytes) {
  const int64_t size = classBytes(bytes);
  auto& c = counters();
  auto& list = freeLists()[size];
  Pointer p = recording() ? recording()->again(size) : Pointer();
  if (p) return p;
  if (!list.empty()) {
    p.address = list.back();
    list.pop_back();
    c.cached -= size;
  } else {
    int status = driver().cuMemAlloc_v2(&p.address, size_t(size));
    if (status == kOutOfMemory) {
      emptyCache();
      status = driver().cuMemAlloc_v2(&p.address, size_t(size));
    }
    if (status == kOutOfMemory) {
      size_t available = 0, total = 0;
      driver().cuMemGetInfo_v2(&available, &total);
      fail("cuda: out of memory: %lld MiB more do not fit beside %lld MiB in use, of %lld MiB on the %s",
           static_cast<long long>(size >> 20), static_cast<long long>(c.live >> 20), static_cast<long long>(int64_t(total) >> 20), device().name.c_str());
    }
    check(status, "memory");
  }
  c.live += size;
  c.peak = std::max(c.peak, c.live);
  if (recording()) recording()->own(p, size);
  return p;
}

void release(Pointer p, int64_t bytes) {
  if (!p) return;
  if (Recording* owner = ownerOf(p)) {
    owner->giveBack(p, !exact());
    return;
  }
  releaseWhole(p, classBytes(bytes));
}

void releaseWhole(Pointer p, int64_t size) {
  auto& c = counters();
  c.live -= size;
  if (exact()) {
    driver().cuMemFree_v2(p.address);
    return;
  }
  c.cached += size;
  freeLists()[size].push_back(p.address);
}

void toDevice(Pointer to, const void* from, int64_t bytes) {
  trace(from, size_t(bytes));
  if (recording()) from = recording()->keep(from, bytes);
  // From ordinary memory: the driver has read it when the call returns.
  if (bytes) check(driver().cuMemcpyHtoDAsync_v2(to.address, from, size_t(bytes), device().stream), "copying to the GPU");
}

void toHostMemory(void* to, Pointer from, int64_t bytes) {
  notWhileRecording("a value that is read back");
  for (int64_t done = 0; done < bytes; done += kStaging) {
    const int64_t part = std::min(kStaging, bytes - done);
    check(driver().cuMemcpyDtoHAsync_v2(staging(), from.plus(done).address, size_t(part), device().stream), "copying from the GPU");
    check(driver().cuStreamSynchronize(device().stream), "waiting for the GPU");
    std::memcpy(static_cast<char*>(to) + done, staging(), size_t(part));
  }
}

Handle Kernel::function() {
  if (!function_) function_ = compiledFunction(file_, entry_);
  return function_;
}

void launchWith(Kernel& kernel, Grid grid, unsigned threads, unsigned sharedBytes, void** arguments, const char* kinds, const unsigned* sizes) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535) fail("cuda: %s: a grid of %lld x %lld x %lld blocks is too large", kernel.entry(), static_cast<long long>(grid.x), static_cast<long long>(grid.y), static_cast<long long>(grid.z));
  const Handle function = kernel.function();
  if (const auto f = checkArguments())
    if (f(function, kinds) != 0) fail("cuda: %s is called with arguments of the kinds %s", kernel.entry(), kinds);
  if (sharedBytes > 48 << 10) {
    if (int64_t(sharedBytes) > device().sharedBytes) fail("cuda: %s: %u bytes of shared memory are more than the %s has", kernel.entry(), sharedBytes, device().name.c_str());
    check(driver().cuFuncSetAttribute(function, kMaxDynamicShared, int(sharedBytes)), kernel.entry());
  }
  counters().launches++;
  if (tracing()) {
    trace(kernel.entry(), std::strlen(kernel.entry()));
    trace(&grid, sizeof grid);
    for (int i = 0; kinds[i]; i++)
      if (kinds[i] != 'p') trace(arguments[i], sizes[i]);
  }
  check(driver().cuLaunchKernel(function, unsigned(grid.x), unsigned(grid.y), unsigned(grid.z), threads, 1, 1, sharedBytes, device().stream, arguments, nullptr), kernel.entry());
}

}  // namespace cuda
}  // namespace graft
