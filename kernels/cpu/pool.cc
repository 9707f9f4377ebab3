// The persistent worker pool.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "core.h"

namespace graft {
namespace {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

thread_local bool insidePart = false;

class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; i++) workers_.emplace_back([this] { work(); });
  }
  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
      generation_++;
    }
    wake_.notify_all();
    for (auto& w : workers_) w.join();
  }
  int size() const { return int(workers_.size()) + 1; }

  /** Returns when every part is done; a worker that wakes too late for its share is not waited for. */
  void run(int64_t parts, const std::function<void(int64_t)>& part) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      part_ = &part;
      parts_ = parts;
      next_.store(0);
      failed_ = false;
      open_ = true;
      generation_++;
    }
    wake_.notify_all();
    take();
    for (int i = 0; i < kSpins && active_.load(std::memory_order_acquire); i++) pause();
    std::unique_lock<std::mutex> lock(mutex_);
    open_ = false;
    done_.wait(lock, [this] { return active_.load() == 0; });
    if (failed_) throw error_;
  }

 private:
  static constexpr int kSpins = 4000;

  void take() {
    insidePart = true;
    try {
      for (int64_t i; (i = next_.fetch_add(1)) < parts_;) (*part_)(i);
    } catch (const Error& e) {
      std::lock_guard<std::mutex> lock(mutex_);
      failed_ = true;
      error_ = e;
    }
    insidePart = false;
  }

  void work() {
    int64_t seen = 0;
    for (;;) {
      for (int i = 0; i < kSpins && generation_.load(std::memory_order_acquire) == seen; i++) pause();
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load() != seen; });
        seen = generation_.load();
        if (stop_) return;
        if (!open_) continue;
        active_++;
      }
      take();
      std::lock_guard<std::mutex> lock(mutex_);
      if (--active_ == 0) done_.notify_one();
    }
  }

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<int64_t> generation_{0}, next_{0};
  std::atomic<int> active_{0};
  const std::function<void(int64_t)>* part_ = nullptr;
  int64_t parts_ = 0;
  bool stop_ = false, open_ = false, failed_ = false;
  Error error_;
};

int defaultThreads() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return int(std::max(1u, std::thread::hardware_concurrency()));
}

int wanted = 0;
Pool* pool = nullptr;  // left to the process's end: joining threads from static destructors can hang

}  // namespace

int threadCount() { return wanted > 0 ? wanted : (wanted = defaultThreads()); }

void setThreadCount(int n) {
  if (n < 1 || n > 1024) fail("threads: 1 to 1024, not %d", n);
  if (n == wanted) return;
  wanted = n;
  delete pool;
  pool = nullptr;
}

void parallelFor(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& f) {
  if (n <= 0) return;
  grain = std::max<int64_t>(1, grain);
  const int64_t grains = (n + grain - 1) / grain;
  if (grains == 1 || insidePart || threadCount() == 1) return f(0, n);
  if (!pool) pool = new Pool(threadCount());
  const int64_t parts = std::min<int64_t>(grains, 4 * threadCount());
  pool->run(parts, [&](int64_t p) {
    const int64_t begin = grains * p / parts * grain, end = std::min(n, grains * (p + 1) / parts * grain);
    f(begin, end);
  });
}

}  // namespace graft
