// The caching allocator and the per-thread scratch arena.
#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "core.h"

// Where AddressSanitizer looks on, tensors have exactly their own memory, used once, and pieces of scratch memory have poison between them.
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
static constexpr bool kChecked = true;
#else
#define ASAN_POISON_MEMORY_REGION(data, bytes) (void)(data), (void)(bytes)
#define ASAN_UNPOISON_MEMORY_REGION(data, bytes) (void)(data), (void)(bytes)
static constexpr bool kChecked = false;
#endif

namespace graft {

static constexpr int64_t kHuge = 4 << 20;
static constexpr int64_t kSpare = 64 << 20;

MemoryCounters& counters() {
  static MemoryCounters c;
  return c;
}

/** Multiples of 64 up to 1 KiB, then four classes per doubling. */
static int64_t classBytes(int64_t bytes) {
  if (kChecked) return bytes;
  if (bytes <= 1024) return std::max<int64_t>(64, (bytes + 63) & ~int64_t(63));
  const int64_t step = int64_t(1) << (63 - __builtin_clzll(uint64_t(bytes - 1)) - 2);
  return (bytes + step - 1) & ~(step - 1);
}

static void* fromSystem(int64_t bytes) {
  if (kChecked) {
    void* exact = nullptr;
    return posix_memalign(&exact, 64, size_t(bytes)) == 0 ? exact : nullptr;
  }
  void* p = std::aligned_alloc(bytes >= kHuge ? 2 << 20 : 64, bytes >= kHuge ? (bytes + (2 << 20) - 1) & ~int64_t((2 << 20) - 1) : bytes);
#ifdef MADV_HUGEPAGE
  if (p && bytes >= kHuge) madvise(p, size_t(bytes), MADV_HUGEPAGE);
#endif
  return p;
}

[[noreturn]] static void failForMemory(int64_t bytes) {
  const auto& c = counters();
  const auto mib = [](int64_t n) { return static_cast<long long>((n + (1 << 20) - 1) >> 20); };
  char limit[64] = "";
  if (c.limit > 0) std::snprintf(limit, sizeof limit, ", of %lld MiB", mib(c.limit));
  fail("out of memory: %lld MiB more do not fit beside %lld MiB in use%s", mib(bytes), mib(c.live + c.packed), limit);
}

static void* systemAllocate(int64_t bytes) {
  void* p = fromSystem(bytes);
  if (!p) failForMemory(bytes);
  return p;
}

static std::map<int64_t, std::vector<void*>>& freeLists() {
  static auto* lists = new std::map<int64_t, std::vector<void*>>();  // never destroyed: buffers may outlive static destruction
  return *lists;
}

/** Gives blocks of the free lists back to the system, the largest first, until `enough` says so. */
template <class Enough>
static void trim(const Enough& enough) {
  auto& lists = freeLists();
  for (auto largest = lists.rbegin(); largest != lists.rend(); ++largest)
    while (!largest->second.empty() && !enough()) {
      std::free(largest->second.back());
      largest->second.pop_back();
      counters().cached -= largest->first;
    }
}

void* allocate(int64_t bytes) {
  const int64_t size = classBytes(bytes);
  auto& c = counters();
  auto list = freeLists().find(size);
  void* p = nullptr;
  if (list != freeLists().end() && !list->second.empty()) {
    p = list->second.back();
    list->second.pop_back();
    c.cached -= size;
  } else {
    // Blocks of other sizes make room, so that all memory together stays near what was once in use at a time.
    const int64_t most = std::max(c.peak, c.live + size) + std::max(c.peak, c.live + size) / 4 + kSpare;
    const auto within = [&](int64_t bound) { return [&c, size, bound] { return c.live + size + c.cached <= bound; }; };
    trim(within(c.limit > 0 ? std::min(most, c.limit - c.packed) : most));
    if (c.limit > 0 && c.live + size + c.packed > c.limit) failForMemory(size);
    p = fromSystem(size);
    if (!p) {
      trim([] { return false; });
      p = systemAllocate(size);
    }
  }
  c.live += size;
  c.peak = std::max(c.peak, c.live);
  return p;
}

void release(void* data, int64_t bytes) {
  if (!data) return;
  const int64_t size = classBytes(bytes);
  auto& c = counters();
  c.live -= size;
  if (kChecked) return std::free(data);
  c.cached += size;
  freeLists()[size].push_back(data);
}

// --- scratch ------------------------------------------------------------------------------------------------------------------

namespace {
struct Arena {
  struct Block { char* data; size_t size; };
  std::vector<Block> blocks;
  size_t block = 0, used = 0;
  ~Arena() { for (auto& b : blocks) std::free(b.data); }
};
/** Freed with its thread by a key: a thread_local with a destructor would ask for a glibc newer than the portable addon does. */
Arena& arena() {
  static const pthread_key_t key = [] {
    pthread_key_t k;
    if (pthread_key_create(&k, [](void* a) { delete static_cast<Arena*>(a); })) fail("no key for memory of threads");
    return k;
  }();
  thread_local Arena* own = nullptr;
  if (!own) pthread_setspecific(key, own = new Arena());
  return *own;
}
}  // namespace

Scratch::Scratch() : block_(arena().block), used_(arena().used) {}

Scratch::~Scratch() {
  auto& a = arena();
  if (kChecked)
    for (size_t i = block_; i < a.blocks.size(); i++) {
      const size_t kept = i == block_ ? used_ : 0;
      ASAN_POISON_MEMORY_REGION(a.blocks[i].data + kept, a.blocks[i].size - kept);
    }
  a.block = block_;
  a.used = used_;
  // One block that fits everything is better than a chain of growing ones.
  if (block_ == 0 && used_ == 0 && a.blocks.size() > 1) {
    for (auto& b : a.blocks) std::free(b.data);
    a.blocks.clear();
  }
}

void* Scratch::bytes(int64_t n) {
  auto& a = arena();
  if (n < 0) fail("%lld bytes of scratch memory", static_cast<long long>(n));
  const size_t need = (size_t(std::max<int64_t>(n, 1)) + (kChecked ? 127 : 63)) & ~size_t(63);
  while (a.block < a.blocks.size() && a.used + need > a.blocks[a.block].size) {
    a.block++;
    a.used = 0;
  }
  if (a.block == a.blocks.size()) {
    size_t total = 0;
    for (auto& b : a.blocks) total += b.size;
    const size_t size = std::max({need, 2 * total, size_t(1) << 20});
    a.blocks.push_back({static_cast<char*>(systemAllocate(int64_t((size + 63) & ~size_t(63)))), size});
    a.used = 0;
    ASAN_POISON_MEMORY_REGION(a.blocks.back().data, a.blocks.back().size);
  }
  void* p = a.blocks[a.block].data + a.used;
  a.used += need;
  ASAN_UNPOISON_MEMORY_REGION(p, size_t(n));
  return p;
}

}  // namespace graft
