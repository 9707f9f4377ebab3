// Stands in for libcuda and NVRTC where there is no GPU: the same calls, over the kernels the ordinary compiler built into this library.
// Memory is the host's, each block at the end of its pages, so that a read or write beyond it ends the process. GRAFT_EMULATOR_MEMORY
// is how many bytes there are.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "../driver.h"
#include "emulator.h"
#include "queue.h"

using graft::cuda::Handle;

namespace {

constexpr int kInvalid = 1, kNotFound = 500;
constexpr size_t kPage = 4096;

}  // namespace
bool emulator::neverReady = false;
namespace {

struct Block { void* pages; size_t bytes, asked; };
std::map<uint64_t, Block>& memory() {
  static auto* all = new std::map<uint64_t, Block>();
  return *all;
}
size_t used = 0;
size_t room() {
  const char* set = std::getenv("GRAFT_EMULATOR_MEMORY");
  return set ? std::strtoull(set, nullptr, 10) : size_t(8) << 30;
}

/** Bytes of dynamic shared memory beyond 48 KiB that a kernel was given leave for. */
std::map<Handle, int>& allowed() {
  static auto* all = new std::map<Handle, int>();
  return *all;
}

struct Program { std::string name, source, log; };
struct Event { bool asked = false; };

/** Whether bytes at `at` belong to one block. */
bool owned(uint64_t at, size_t bytes) {
  auto next = memory().upper_bound(at);
  if (next == memory().begin()) return false;
  const auto& block = *--next;
  return at + bytes <= block.first + block.second.asked;
}

constexpr char kMark[] = "emulated:";
constexpr int kCapturing = 900;

}  // namespace

std::vector<emulator::Work>* emulator::recorded = nullptr;

#define API extern "C" __attribute__((visibility("default"))) int

API cuInit(unsigned) { return 0; }
API cuDriverGetVersion(int* version) { return *version = 13000, 0; }
API cuDeviceGetCount(int* count) { return *count = 1, 0; }
API cuDeviceGet(int* device, int ordinal) { return *device = ordinal, ordinal == 0 ? 0 : 101; }
API cuDeviceGetName(char* name, int size, int) { return std::snprintf(name, size_t(size), "emulated GPU"), 0; }
API cuDeviceGetAttribute(int* value, int attribute, int) {
  using namespace graft::cuda;
  const char* capability = std::getenv("GRAFT_EMULATOR_CAPABILITY");
  const int version = capability ? std::atoi(capability) : 90;
  switch (attribute) {
    case kMajor: return *value = version / 10, 0;
    case kMinor: return *value = version % 10, 0;
    case kProcessors: return *value = 4, 0;
    case kSharedOptIn: return *value = 99 << 10, 0;
  }
  return kInvalid;
}
API cuDevicePrimaryCtxRetain(Handle* context, int) { return *context = nullptr, 0; }
API cuCtxSetCurrent(Handle) { return 0; }
API cuMemGetInfo_v2(size_t* available, size_t* total) { return *total = room(), *available = room() - used, 0; }

API cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  if (bytes == 0) return kInvalid;
  if (used + bytes > room()) return graft::cuda::kOutOfMemory;
  const size_t aligned = (bytes + 15) & ~size_t(15), whole = (aligned + kPage - 1) / kPage * kPage;
  char* pages = static_cast<char*>(mmap(nullptr, whole + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (pages == MAP_FAILED) return graft::cuda::kOutOfMemory;
  mprotect(pages + whole, kPage, PROT_NONE);
  std::memset(pages, 0xff, whole);
  *address = reinterpret_cast<uint64_t>(pages + whole - aligned);
  memory()[*address] = {pages, whole + kPage, bytes};
  used += bytes;
  return 0;
}
API cuMemFree_v2(uint64_t address) {
  const auto block = memory().find(address);
  if (block == memory().end()) return kInvalid;
  used -= block->second.asked;
  munmap(block->second.pages, block->second.bytes);
  memory().erase(block);
  return 0;
}
API cuMemAllocHost_v2(void** at, size_t bytes) { return *at = std::malloc(bytes), *at ? 0 : graft::cuda::kOutOfMemory; }
API cuMemFreeHost(void* at) { return std::free(at), 0; }
API cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, Handle) {
  if (!owned(to, bytes)) return kInvalid;
  return emulator::queue([=] { return std::memcpy(reinterpret_cast<void*>(to), from, bytes), 0; });
}
API cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, Handle) {
  if (emulator::recorded) return kCapturing;
  if (!owned(from, bytes)) return kInvalid;
  return std::memcpy(to, reinterpret_cast<const void*>(from), bytes), 0;
}
API cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, Handle) {
  if (!owned(from, bytes) || !owned(to, bytes)) return kInvalid;
  return emulator::queue([=] { return std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes), 0; });
}
API cuMemsetD8Async(uint64_t to, unsigned char value, size_t count, Handle) {
  if (!owned(to, count)) return kInvalid;
  return emulator::queue([=] { return std::memset(reinterpret_cast<void*>(to), value, count), 0; });
}
API cuStreamCreate(Handle* stream, unsigned) { return *stream = nullptr, 0; }
API cuStreamSynchronize(Handle) { return emulator::recorded ? kCapturing : 0; }
API cuStreamBeginCapture_v2(Handle, int) {
  if (emulator::recorded) return kInvalid;
  return emulator::recorded = new std::vector<emulator::Work>(), 0;
}
API cuStreamEndCapture(Handle, Handle* graph) {
  if (!emulator::recorded) return kInvalid;
  return *graph = emulator::recorded, emulator::recorded = nullptr, 0;
}
API cuGraphInstantiateWithFlags(Handle* run, Handle graph, unsigned long long) { return *run = new std::vector<emulator::Work>(*static_cast<std::vector<emulator::Work>*>(graph)), 0; }
API cuGraphLaunch(Handle run, Handle) {
  if (emulator::recorded) return kInvalid;
  for (const auto& work : *static_cast<std::vector<emulator::Work>*>(run))
    if (const int status = work()) return status;
  return 0;
}
API cuGraphExecDestroy(Handle run) { return delete static_cast<std::vector<emulator::Work>*>(run), 0; }
API cuGraphDestroy(Handle graph) { return delete static_cast<std::vector<emulator::Work>*>(graph), 0; }
API cuEventCreate(Handle* event, unsigned) { return *event = new Event(), 0; }
API cuEventRecord(Handle event, Handle) { return static_cast<Event*>(event)->asked = false, 0; }
/** Not ready when asked the first time. */
API cuEventQuery(Handle event) {
  if (emulator::neverReady) return int(graft::cuda::kNotReady);
  bool& asked = static_cast<Event*>(event)->asked;
  return asked ? 0 : (asked = true, int(graft::cuda::kNotReady));
}
API cuEventSynchronize(Handle) { return 0; }
API cuStreamWaitEvent(Handle, Handle event, unsigned) { return event ? 0 : kInvalid; }

API cuModuleLoadData(Handle* module, const void* image) {
  const char* text = static_cast<const char*>(image);
  if (std::strncmp(text, kMark, sizeof kMark - 1) != 0) return 200;
  return *module = new std::string(text + sizeof kMark - 1), 0;
}
API cuModuleGetFunction(Handle* function, Handle module, const char* name) {
  const emulator::Kernel* kernel = emulator::find(static_cast<std::string*>(module)->c_str(), name);
  return *function = const_cast<emulator::Kernel*>(kernel), kernel ? 0 : kNotFound;
}
API cuFuncSetAttribute(Handle function, int attribute, int value) {
  if (attribute != graft::cuda::kMaxDynamicShared || value > 99 << 10) return kInvalid;
  return allowed()[function] = value, 0;
}
API cuLaunchKernel(Handle function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned sharedBytes, Handle, void** arguments, void**) {
  if (sharedBytes > 48 << 10 && int(sharedBytes) > allowed()[function]) return kInvalid;
  const auto& kernel = *static_cast<emulator::Kernel*>(function);
  if (!emulator::recorded) return emulator::launch(kernel, {gx, gy, gz}, {bx, by, bz}, sharedBytes, arguments);
  std::vector<std::vector<char>> copies;
  for (size_t i = 0; kernel.kinds[i]; i++) copies.emplace_back(static_cast<char*>(arguments[i]), static_cast<char*>(arguments[i]) + kernel.sizes[i]);
  return emulator::queue([=]() mutable {
    std::vector<void*> list;
    for (auto& copy : copies) list.push_back(copy.data());
    return emulator::launch(kernel, {gx, gy, gz}, {bx, by, bz}, sharedBytes, list.data());
  });
}
API cuGetErrorString(int status, const char** text) {
  *text = status == graft::cuda::kOutOfMemory ? "out of memory" : status == kNotFound ? "named symbol not found" : status == 719 ? "unspecified launch failure" : "invalid argument";
  return 0;
}
API graftCheckArguments(Handle function, const char* kinds) {
  const auto* kernel = static_cast<emulator::Kernel*>(function);
  if (std::strcmp(kernel->kinds, kinds) == 0) return 0;
  std::fprintf(stderr, "emulator: %s has parameters of the kinds %s, and is given %s\n", kernel->name, kernel->kinds, kinds);
  return kInvalid;
}

// --- NVRTC: what it "compiles" is the name of the file ------------------------------------------------------------------------

API nvrtcVersion(int* major, int* minor) { return *major = 0, *minor = 0, 0; }
API nvrtcCreateProgram(Handle* program, const char* source, const char* name, int, const char* const*, const char* const*) {
  return *program = new Program{name, source, ""}, 0;
}
API nvrtcCompileProgram(Handle program, int, const char* const*) {
  auto* p = static_cast<Program*>(program);
  if (p->source.find("KERNEL(") != std::string::npos) return 0;
  p->log = p->name + "(1): error: no KERNEL in it";
  return 6;
}
API nvrtcGetProgramLogSize(Handle program, size_t* bytes) { return *bytes = static_cast<Program*>(program)->log.size() + 1, 0; }
API nvrtcGetProgramLog(Handle program, char* text) { return std::strcpy(text, static_cast<Program*>(program)->log.c_str()), 0; }
API nvrtcGetCUBINSize(Handle program, size_t* bytes) { return *bytes = sizeof kMark + static_cast<Program*>(program)->name.size(), 0; }
API nvrtcGetCUBIN(Handle program, char* image) { return std::strcpy(std::strcpy(image, kMark) + sizeof kMark - 1, static_cast<Program*>(program)->name.c_str()), 0; }
API nvrtcDestroyProgram(Handle* program) { return delete static_cast<Program*>(*program), *program = nullptr, 0; }
