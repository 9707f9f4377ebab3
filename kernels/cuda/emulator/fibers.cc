// The emulator's scheduler: see emulator.h.
#include <sys/mman.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "emulator.h"

namespace emulator {

Dim3 threadIndex, blockIndex, blockSize, gridSize;

namespace {

constexpr unsigned kStack = 128 << 10, kLaunchFailed = 719, kInvalidValue = 1;

// --- switching ----------------------------------------------------------------------------------------------------------------

#ifdef __x86_64__
extern "C" void graftSwitch(void** from, void* to);
asm(R"(
.text
.globl graftSwitch
.hidden graftSwitch
graftSwitch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
using Context = void*;
void switchTo(Context& from, Context& to) { graftSwitch(&from, to); }
void prepare(Context& context, char* stack, void (*entry)()) {
  auto** top = reinterpret_cast<void**>(stack + kStack) - 2;
  *top = reinterpret_cast<void*>(entry);  // the stack is as a call would leave it: 16-byte aligned before the return address
  for (int i = 0; i < 6; i++) *--top = nullptr;
  context = top;
}
#else
using Context = ucontext_t;
void switchTo(Context& from, Context& to) { swapcontext(&from, &to); }
void prepare(Context& context, char* stack, void (*entry)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = kStack;
  context.uc_link = nullptr;
  makecontext(&context, entry, 0);
}
#endif

char* newStack() {
  void* p = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) std::abort();
  mprotect(p, 4096, PROT_NONE);
  return static_cast<char*>(p);
}

// --- one block ----------------------------------------------------------------------------------------------------------------

enum class State { New, Ready, AtBlock, AtWarp, Done };

struct Thread {
  Context context;
  char* stack = nullptr;
  Dim3 index;
  State state = State::New;
  unsigned mask = 0;   // of the warp barrier it waits at
  unsigned rounds = 0;  // exchanges so far
};

struct Warp {
  unsigned here = 0;  // lanes at the barrier
  char values[2][32 * 64];
};

std::vector<Thread> threads;
std::vector<Warp> warps;
std::vector<char*> stacks;
std::vector<unsigned> ready;
std::map<const void*, std::vector<char>> sharedMemory;
std::vector<char> dynamicMemory;
Context scheduler;
unsigned current, atBlock, done;
const Kernel* running;
void** given;

uint64_t randomState = 0;
unsigned below(unsigned n) {
  if (!randomState) {
    const char* seed = std::getenv("GRAFT_EMULATOR_SEED");
    randomState = 0x9e3779b97f4a7c15u + (seed ? std::strtoull(seed, nullptr, 10) : 1) * 0xbf58476d1ce4e5b9u;
  }
  randomState ^= randomState << 13, randomState ^= randomState >> 7, randomState ^= randomState << 17;
  return unsigned((randomState >> 32) % n);
}

/** Somewhere among those that wait to run. */
void wake(unsigned thread) {
  threads[thread].state = State::Ready;
  ready.push_back(thread);
  std::swap(ready.back(), ready[below(unsigned(ready.size()))]);
}

void entry() {
  running->invoke(given);
  threads[current].state = State::Done;
  switchTo(threads[current].context, scheduler);
  std::abort();
}

void wait(State state) {
  Thread& t = threads[current];
  const unsigned self = current;
  t.state = state;
  switchTo(t.context, scheduler);
  current = self;
  threadIndex = threads[self].index;
}

/** Whether every thread that has not ended waits at the block's barrier, who then go on. */
void releaseBlock() {
  if (atBlock == 0 || atBlock + done < threads.size()) return;
  atBlock = 0;
  for (unsigned i = 0; i < threads.size(); i++)
    if (threads[i].state == State::AtBlock) wake(i);
}

int runBlock(Dim3 block, unsigned sharedBytes) {
  const unsigned count = block.x * block.y * block.z;
  while (threads.size() > count) threads.pop_back();
  threads.resize(count);
  warps.assign((count + 31) / 32, Warp());
  for (auto& memory : sharedMemory) std::memset(memory.second.data(), 0xff, memory.second.size());
  dynamicMemory.assign(sharedBytes, char(0xff));
  ready.clear();
  atBlock = done = 0;
  for (unsigned i = 0; i < count; i++) {
    threads[i].index = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
    threads[i].rounds = 0;
    wake(i);
    threads[i].state = State::New;
  }
  while (!ready.empty()) {
    current = ready.back();
    ready.pop_back();
    Thread& t = threads[current];
    if (t.state == State::New) {
      if (stacks.empty()) stacks.push_back(newStack());
      t.stack = stacks.back();
      stacks.pop_back();
      prepare(t.context, t.stack, entry);
    }
    threadIndex = t.index;
    switchTo(scheduler, t.context);
    if (t.state == State::Done) {
      stacks.push_back(t.stack);
      done++;
    }
    releaseBlock();
  }
  if (done == count) return 0;
  unsigned warpWaits = 0;
  for (Thread& t : threads) {
    if (t.state == State::AtWarp) warpWaits++;
    if (t.state != State::Done) stacks.push_back(t.stack);
  }
  std::fprintf(stderr, "emulator: %s: in block %u %u of %u threads have ended, %u wait at a barrier of the block, %u at one of their warp\n", running->name, blockIndex.x,
               done, count, atBlock, warpWaits);
  return kLaunchFailed;
}

std::map<std::string, Kernel>& kernels() {
  static auto* all = new std::map<std::string, Kernel>();
  return *all;
}

std::string keyOf(const char* file, const char* name) {
  const std::string path = file;
  return path.substr(path.rfind('/') + 1) + ':' + name;
}

}  // namespace

void blockBarrier() {
  atBlock++;
  wait(State::AtBlock);
}

void warpBarrier(unsigned mask) {
  const unsigned self = current, lane = self & 31;
  Warp& w = warps[self / 32];
  const unsigned last = unsigned(threads.size()) - self / 32 * 32;  // a last warp may be short
  if (last < 32) mask &= (1u << last) - 1;
  if (!(mask >> lane & 1)) {
    std::fprintf(stderr, "emulator: %s: lane %u is not in the mask %08x of its warp's barrier\n", running->name, lane, mask);
    std::abort();
  }
  w.here |= 1u << lane;
  if ((w.here & mask) != mask) {
    threads[self].mask = mask;
    wait(State::AtWarp);
    return;
  }
  w.here &= ~mask;
  for (unsigned i = 0; i < 32; i++)
    if ((mask >> i & 1) && i != lane) wake(self / 32 * 32 + i);
  wake(self);
  wait(State::Ready);
}

const char* exchange(unsigned mask, const void* value, unsigned bytes) {
  // Two places in turn: when a lane gives its next value, all have read the one before the last.
  char* values = warps[current / 32].values[threads[current].rounds++ & 1];
  if (bytes > 64) std::abort();
  std::memcpy(values + (current & 31) * 64, value, bytes);
  warpBarrier(mask);
  return values;
}

void* shared(const void* key, unsigned bytes) {
  std::vector<char>& memory = sharedMemory[key];
  if (memory.empty()) {
    memory.assign(bytes, char(0xff));
    uint64_t total = 0;
    for (const auto& each : sharedMemory) total += each.second.size();
    if (total > 48 << 10) {
      std::fprintf(stderr, "emulator: %s: %llu bytes of shared memory, more than 48 KiB\n", running->name, static_cast<unsigned long long>(total));
      std::abort();
    }
  }
  return memory.data();
}

void* dynamicShared() { return dynamicMemory.data(); }

bool add(const Kernel& kernel) {
  kernels()[keyOf(kernel.file, kernel.name)] = kernel;
  return true;
}

const Kernel* find(const char* file, const char* name) {
  const auto at = kernels().find(keyOf(file, name));
  return at == kernels().end() ? nullptr : &at->second;
}

int launch(const Kernel& kernel, Dim3 grid, Dim3 block, unsigned sharedBytes, void** arguments) {
  const unsigned count = block.x * block.y * block.z;
  const uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
  if (count == 0 || count > kernel.threads || blocks == 0 || grid.y > 65535 || grid.z > 65535 || sharedBytes > 99 << 10) {
    std::fprintf(stderr, "emulator: %s: impossible launch of %u x %u x %u blocks of %u threads with %u bytes\n", kernel.name, grid.x, grid.y, grid.z, count, sharedBytes);
    return kInvalidValue;
  }
  running = &kernel;
  sharedMemory.clear();
  given = arguments;
  gridSize = grid;
  blockSize = block;
  std::vector<uint32_t> order(blocks);
  for (uint64_t i = 0; i < blocks; i++) {
    order[i] = uint32_t(i);
    std::swap(order[i], order[below(uint32_t(i) + 1)]);
  }
  for (const uint32_t i : order) {
    blockIndex = {i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
    if (const int failed = runBlock(block, sharedBytes)) return failed;
  }
  return 0;
}

}  // namespace emulator
