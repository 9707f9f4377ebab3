// Reads that do not wait: a copy to pinned memory is queued and asked for until it has arrived.
#include <cstring>
#include <map>

#include "graph.h"
#include "memory.h"

using namespace graft;
using namespace graft::cuda;

namespace {

struct Pending {
  void* memory;
  int64_t room, bytes;
  Handle event;
};

std::map<int32_t, Pending> pending;
std::multimap<int64_t, Pending> idle;  // pinned memory and its event, by room, for the next read
int32_t next = 0;

Pending pinned(int64_t bytes) {
  const auto found = idle.lower_bound(bytes);
  if (found != idle.end() && found->first <= 4 * bytes + 4096) {
    const Pending p = found->second;
    idle.erase(found);
    return p;
  }
  Pending p = {nullptr, 4096, 0, nullptr};
  while (p.room < bytes) p.room *= 2;
  check(driver().cuMemAllocHost_v2(&p.memory, size_t(p.room)), "pinned memory");
  check(driver().cuEventCreate(&p.event, kNoTiming), "an event");
  return p;
}

Pending& at(const Args& args) {
  const auto found = pending.find(args.handle(0));
  if (found == pending.end()) fail("no read has number %d", args.handle(0));
  return found->second;
}

}  // namespace

/** cuda:ask(handle): the number of a read that is on its way; -1 where the host has the values. */
GRAFT_EXPORT_AS("cuda:ask", cudaAsk) {
  Buffer& b = graft::buffer(args.handle(0));
  const bool narrow = b.storage == Storage::F16 || b.storage == Storage::BF16;
  if (narrow || b.count == 0 || !b.mirror || b.mirror->onHost) return args.returns(-1);
  notWhileRecording("a value that is read back");
  const int64_t bytes = b.count * sizeOf(b.storage);
  Pending p = pinned(bytes);
  p.bytes = bytes;
  check(driver().cuMemcpyDtoHAsync_v2(p.memory, toDevice(b, false).address, size_t(bytes), device().stream), "copying from the GPU");
  check(driver().cuEventRecord(p.event, device().stream), "an event");
  pending[next] = p;
  args.returns(next);
  next = next == INT32_MAX ? 0 : next + 1;
}

/** cuda:arrived(number): 1 once the values can be taken. */
GRAFT_EXPORT_AS("cuda:arrived", cudaArrived) {
  const int status = driver().cuEventQuery(at(args).event);
  if (status != kNotReady) check(status, "the GPU");
  args.returns(status == 0);
}

/** cuda:take(number, typedArray): ends the read. */
GRAFT_EXPORT_AS("cuda:take", cudaTake) {
  const Pending p = at(args);
  int64_t bytes = 0;
  void* to = args.typedArray(1, bytes);
  if (bytes != p.bytes) fail("cuda:take: the array has the wrong size");
  check(driver().cuEventSynchronize(p.event), "the GPU");
  std::memcpy(to, p.memory, size_t(bytes));
  pending.erase(args.handle(0));
  idle.emplace(p.room, p);
}
