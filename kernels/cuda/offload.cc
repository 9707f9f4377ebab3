#include "offload.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>

namespace graft {
namespace cuda {
namespace {

/** Smaller tensors (biases, norms) stay on the GPU. */
constexpr int64_t kSmall = 16 << 10;
/** The last so many weights keep their places: operands of one call are never taken from each other. */
constexpr size_t kInUse = 3;
/** Weights brought along before they are asked for. */
constexpr int kAhead = 4;
constexpr int64_t kStaging = 8 << 20;

int64_t budget = 0, loads = 0, foreseen = 0;

/** A weight that was asked for once, and its place on the GPU while it has one. */
struct Weight {
  const void* data = nullptr;
  int64_t bytes = 0;
  Pointer place;
  Handle arrived = nullptr, free = nullptr;  // events: the copy is there; what used the place before is done
  bool waited = false;                       // what is queued waits for `arrived`
};

std::map<Mirror*, Weight> weights;
std::deque<Mirror*> resident;                                  // the least recently used first
std::map<std::pair<Mirror*, Mirror*>, Mirror*> followed;       // after these two, in this order
Mirror *last = nullptr, *beforeLast = nullptr;
int64_t taken = 0;

Handle event() {
  Handle e = nullptr;
  check(driver().cuEventCreate(&e, kNoTiming), "an event");
  return e;
}

/** Copies run beside what is computed. */
Handle copies() {
  static const Handle stream = [] {
    Handle s = nullptr;
    check(driver().cuStreamCreate(&s, kNonBlocking), "a stream");
    return s;
  }();
  return stream;
}

/** By way of two pinned pieces of memory, so that the host fills one while the GPU reads the other. */
void copy(Pointer to, const void* from, int64_t bytes) {
  static struct { void* memory = nullptr; Handle read = nullptr; } pinned[2];
  static int turn = 0;
  for (int64_t done = 0; done < bytes; done += kStaging, turn = 1 - turn) {
    auto& p = pinned[turn];
    if (!p.memory) check(driver().cuMemAllocHost_v2(&p.memory, kStaging), "pinned memory"), p.read = event();
    else check(driver().cuEventSynchronize(p.read), "copying to the GPU");
    const int64_t part = std::min(kStaging, bytes - done);
    std::memcpy(p.memory, static_cast<const char*>(from) + done, size_t(part));
    check(driver().cuMemcpyHtoDAsync_v2(to.plus(done).address, p.memory, size_t(part), copies()), "copying to the GPU");
    check(driver().cuEventRecord(p.read, copies()), "an event");
  }
}

void giveUp(Mirror* m) {
  Weight& w = weights[m];
  if (!w.place) return;
  if (!w.waited) check(driver().cuStreamWaitEvent(device().stream, w.arrived, 0), "copying to the GPU");  // it was never used: its copy may still be under way
  release(w.place, w.bytes);
  counters().weights -= w.bytes;
  taken -= w.bytes;
  w.place = {};
  resident.erase(std::find(resident.begin(), resident.end(), m));
}

/** Brings a weight to the GPU. `needed`: what was used last makes room too, down to the operands of a call. @returns false where there is no room */
bool load(Mirror* m, bool needed) {
  Weight& w = weights[m];
  Pointer place;
  Handle ready = nullptr;
  const size_t keeps = needed ? kInUse : kInUse + kAhead;
  while (taken + w.bytes > budget && resident.size() > keeps) {
    Mirror* oldest = resident.front();
    Weight& o = weights[oldest];
    if (o.bytes == w.bytes && o.waited) {  // its place as it is: what used it has been queued long since
      place = o.place, ready = o.free;
      o.place = {};
      taken -= o.bytes;
      resident.pop_front();
    } else {
      giveUp(oldest);
    }
    if (place) break;
  }
  if (!needed && !place && taken + w.bytes > budget) return false;
  if (!w.arrived) w.arrived = event(), w.free = event();
  if (!place) {
    place = allocate(w.bytes);
    counters().weights += w.bytes;
    check(driver().cuEventRecord(w.free, device().stream), "an event");
    ready = w.free;
  }
  check(driver().cuStreamWaitEvent(copies(), ready, 0), "copying to the GPU");
  copy(place, w.data, w.bytes);
  check(driver().cuEventRecord(w.arrived, copies()), "an event");
  w.place = place;
  w.waited = false;
  taken += w.bytes;
  resident.push_back(m);
  loads++;
  return true;
}

}  // namespace

bool offloaded(const Buffer& b) { return budget > 0 && b.frozen() && b.count * sizeOf(b.storage) > kSmall; }

Pointer onLoan(Buffer& b) {
  if (!b.mirror) b.mirror = std::make_shared<Mirror>(), b.mirror->onHost = true;
  Mirror* m = b.mirror.get();
  Weight& w = weights[m];
  w.data = b.data, w.bytes = b.count * sizeOf(b.storage);
  m->lent = true;
  // What was queued up to here uses the weights before this one.
  if (last && last != m && weights[last].place) check(driver().cuEventRecord(weights[last].free, device().stream), "an event");
  if (w.place) {
    foreseen += !w.waited;
    resident.erase(std::find(resident.begin(), resident.end(), m));
    resident.push_back(m);
  } else {
    load(m, true);
  }
  if (!w.waited) check(driver().cuStreamWaitEvent(device().stream, w.arrived, 0), "copying to the GPU");
  w.waited = true;
  if (m == last) return w.place;
  if (last && beforeLast) followed[{beforeLast, last}] = m;
  beforeLast = last, last = m;
  for (Mirror *x = beforeLast, *y = last, *next; x; x = y, y = next) {
    const auto known = followed.find({x, y});
    if (known == followed.end() || int(std::distance(std::find(resident.begin(), resident.end(), m), resident.end())) > kAhead) break;
    next = known->second;
    if (!weights[next].place && !load(next, false)) break;
    if (next == m) break;
  }
  return weights[m].place;
}

void forgetLoan(Mirror& m) {
  giveUp(&m);
  weights.erase(&m);
  for (auto f = followed.begin(); f != followed.end();) f = f->first.first == &m || f->first.second == &m || f->second == &m ? followed.erase(f) : std::next(f);
  if (last == &m) last = nullptr;
  if (beforeLast == &m) beforeLast = nullptr;
}

}  // namespace cuda
}  // namespace graft

using namespace graft;

/** cuda:offload(bytes): frozen matrices take no more than that of the GPU, but for those that are in use; 0: they stay there. */
GRAFT_EXPORT_AS("cuda:offload", cudaOffload) { cuda::budget = args.integer(0); }

/** cuda:loans(i): weights copied to the GPU, those of them that were there before they were asked for. */
GRAFT_EXPORT_AS("cuda:loans", cudaLoans) { args.returns(double(args.integer(0) == 0 ? cuda::loads : cuda::foreseen)); }
