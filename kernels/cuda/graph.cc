#include "graph.h"

#include <algorithm>
#include <cstring>

#include "memory.h"

namespace graft {
namespace cuda {
namespace {

constexpr int kRelaxed = 2;  // memory is allocated while recording
constexpr size_t kPinned = 1 << 20;

Recording* underWay = nullptr;
/** Addresses that belong to graphs. */
std::unordered_map<uint64_t, Recording*>& owners() {
  static auto* all = new std::unordered_map<uint64_t, Recording*>();
  return *all;
}
std::map<int32_t, std::unique_ptr<Recording>>& graphs() {
  static auto* all = new std::map<int32_t, std::unique_ptr<Recording>>();
  return *all;
}
int32_t next = 0;
bool tracesNow = false;
uint64_t traced = 0;
int64_t tracedFrom = 0;

}  // namespace

Recording* recording() { return underWay; }

Recording* ownerOf(Pointer p) {
  if (owners().empty()) return nullptr;
  const auto found = owners().find(p.address);
  return found == owners().end() ? nullptr : found->second;
}

void notWhileRecording(const char* what) {
  if (underWay) fail("cuda: %s cannot be recorded", what);
}

bool tracing() { return tracesNow; }

bool olderThanTrace(int64_t born) { return born < tracedFrom; }

Untraced::Untraced(bool yes) : before_(tracesNow) {
  if (yes) tracesNow = false;
}
Untraced::~Untraced() { tracesNow = before_; }

void trace(const void* bytes, size_t n) {
  if (!tracesNow) return;
  traced = (traced ^ n) * 0x100000001b3u;
  for (size_t i = 0; i < n; i++) traced = (traced ^ static_cast<const uint8_t*>(bytes)[i]) * 0x100000001b3u;
}

Recording::Recording() : began_(Mirror::made()) {
  underWay = this;
  check(driver().cuStreamBeginCapture_v2(device().stream, kRelaxed), "recording");
}

void Recording::end() {
  if (ended_) return;
  ended_ = true, underWay = nullptr;
  Handle graph = nullptr;
  const int status = driver().cuStreamEndCapture(device().stream, &graph);
  const int made = status == 0 ? driver().cuGraphInstantiateWithFlags(&run_, graph, 0) : status;
  if (graph) driver().cuGraphDestroy(graph);
  check(made, "recording");
}

Recording::~Recording() {
  if (!ended_) {  // an error ended it
    ended_ = true, underWay = nullptr;
    Handle graph = nullptr;
    if (driver().cuStreamEndCapture(device().stream, &graph) == 0 && graph) driver().cuGraphDestroy(graph);
  }
  driver().cuStreamSynchronize(device().stream);
  if (run_) driver().cuGraphExecDestroy(run_);
  for (const auto& [address, block] : blocks_) {
    owners().erase(address);
    if (!block.taken) releaseWhole({address}, block.size);
  }
  for (void* memory : pinned_) driver().cuMemFreeHost(memory);
}

Pointer Recording::again(int64_t size) {
  auto& list = free_[size];
  if (list.empty()) return {};
  const Pointer p = {list.back()};
  list.pop_back();
  blocks_[p.address].taken = true;
  return p;
}

void Recording::own(Pointer p, int64_t size) {
  blocks_[p.address] = {size, true};
  owners()[p.address] = this;
}

void Recording::giveBack(Pointer p, bool forReuse) {
  Block& block = blocks_[p.address];
  block.taken = false;
  if (forReuse && !ended_) free_[block.size].push_back(p.address);
}

const void* Recording::keep(const void* values, int64_t bytes) {
  const size_t n = (size_t(bytes) + 15) & ~size_t(15);
  if (n > room_) {
    room_ = std::max(n, kPinned);
    pinned_.push_back(nullptr);
    check(driver().cuMemAllocHost_v2(&pinned_.back(), room_), "pinned memory");
    at_ = static_cast<char*>(pinned_.back());
  }
  void* to = at_;
  at_ += n, room_ -= n;
  return std::memcpy(to, values, size_t(bytes));
}

void Recording::uses(const std::shared_ptr<Mirror>& mirror, Pointer p, bool writes) {
  auto& used = used_[p.address];
  used = {mirror, p, used.writes || writes};
}

bool Recording::run() {
  for (const auto& [address, used] : used_) {
    const auto mirror = used.mirror.lock();
    if (!mirror || !mirror->has(used.pointer)) return false;
  }
  for (const auto& [address, used] : used_)
    if (used.writes) used.mirror.lock()->onHost = false;
  check(driver().cuGraphLaunch(run_, device().stream), "what was recorded");
  return true;
}

}  // namespace cuda
}  // namespace graft

using namespace graft;
using namespace graft::cuda;

/** cuda:record(): what is queued from here on is not run but recorded; its number. */
GRAFT_EXPORT_AS("cuda:record", cudaRecord) {
  notWhileRecording("a recording");
  graphs()[next] = std::make_unique<Recording>();
  args.returns(next++);
}

/** cuda:recorded(number): ends the recording. */
GRAFT_EXPORT_AS("cuda:recorded", cudaRecorded) { graphs().at(args.handle(0))->end(); }

/** cuda:repeat(number): runs it; 0 where it cannot be run any more. */
GRAFT_EXPORT_AS("cuda:repeat", cudaRepeat) { args.returns(graphs().at(args.handle(0))->run()); }

/** cuda:forget(number): ends a recording, or gives up what was recorded and its memory. */
GRAFT_EXPORT_AS("cuda:forget", cudaForget) { graphs().erase(args.handle(0)); }

/** cuda:trace(yes): starts or ends the sum over what is queued, without addresses; 48 bits of the last. */
GRAFT_EXPORT_AS("cuda:trace", cudaTrace) {
  const uint64_t last = traced;
  tracesNow = args.flag(0);
  if (tracesNow) traced = 0xcbf29ce484222325u, tracedFrom = Mirror::made();
  args.returns(double((last ^ last >> 16) & 0xffffffffffffu));
}

/** cuda:assign(to, from): the values of another tensor, in memory that stays where it is. */
GRAFT_EXPORT_AS("cuda:assign", cudaAssign) {
  Buffer &to = graft::buffer(args.handle(0)), &from = graft::buffer(args.handle(1));
  if (to.frozen() || to.storage != from.storage || to.count != from.count) fail("assign: the tensors differ");
  const int64_t bytes = to.count * sizeOf(to.storage);
  const Pointer source = toDevice(from, false), target = toDevice(to, true);
  if (bytes) check(driver().cuMemcpyDtoDAsync_v2(target.address, source.address, size_t(bytes), device().stream), "copying");
}
