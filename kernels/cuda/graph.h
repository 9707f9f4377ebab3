// Work that is recorded once, as a CUDA graph, and then queued as often as wanted by one call.
#pragma once

#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "device.h"

namespace graft {

struct Mirror;

namespace cuda {

/**
 * A graph and what it works in. Its memory is its own from the recording on, for it is written anew each time; tensors that were there
 * before are used where they are, and the graph is worth nothing once one of them is gone.
 */
class Recording {
 public:
  Recording();
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  /** Memory of `size` bytes that was given back to the recording; null where there is none. */
  Pointer again(int64_t size);
  void own(Pointer p, int64_t size);
  bool owns(Pointer p) const { return blocks_.count(p.address) > 0; }
  /** `again` may have it. A block that a tensor still has when the graph goes is that tensor's from then on. */
  void giveBack(Pointer p, bool forReuse);
  /** A copy of host values that lasts as long as the graph, which reads it whenever it runs. */
  const void* keep(const void* values, int64_t bytes);
  /** A tensor's memory from before the recording. */
  void uses(const std::shared_ptr<Mirror>& mirror, Pointer p, bool writes);
  /** Whether a tensor is from before the recording. */
  bool isOlder(int64_t born) const { return born < began_; }

  /** Ends it; nothing has run so far. */
  void end();
  /** Queues it all. False where tensors that it uses are no longer where they were. */
  bool run();

 private:
  struct Used { std::weak_ptr<Mirror> mirror; Pointer pointer; bool writes; };
  struct Block { int64_t size; bool taken; };
  std::unordered_map<uint64_t, Block> blocks_;
  std::map<int64_t, std::vector<uint64_t>> free_;
  std::vector<void*> pinned_;
  char* at_ = nullptr;
  size_t room_ = 0;  // left in the last of them
  std::unordered_map<uint64_t, Used> used_;
  int64_t began_;
  Handle run_ = nullptr;
  bool ended_ = false;
};

/** The one under way, or null. */
Recording* recording();
/** The one that owns an address, under way or not. */
Recording* ownerOf(Pointer p);
/** Ends the call where a recording is under way, in which this cannot be. */
void notWhileRecording(const char* what);

/** Adds to the sum by which it is told whether two runs queue the same work with the same numbers from the host. */
void trace(const void* bytes, size_t n);
bool tracing();
/** Whether a tensor is from before the sum. */
bool olderThanTrace(int64_t born);
/** What a tensor from before needs once, to be used on the GPU at all, is no part of the sum. */
class Untraced {
 public:
  explicit Untraced(bool yes);
  ~Untraced();

 private:
  bool before_;
};

}  // namespace cuda
}  // namespace graft
