// Sums over the GPUs of one run through NCCL, which is found at run time.
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "../cpu/ranks.h"
#include "library.h"
#include "memory.h"

using namespace graft;
using namespace graft::cuda;

namespace {

struct UniqueId { char bytes[128]; };
constexpr int kFloats = 7, kSum = 0;  // ncclDataType_t, ncclRedOp_t

struct Nccl {
  int (*ncclGetUniqueId)(UniqueId*) = nullptr;
  int (*ncclCommInitRank)(Handle* comm, int size, UniqueId id, int rank) = nullptr;
  int (*ncclAllReduce)(uint64_t from, uint64_t to, size_t count, int type, int operation, Handle comm, Handle stream) = nullptr;
  int (*ncclCommAbort)(Handle comm) = nullptr;
  const char* (*ncclGetErrorString)(int status) = nullptr;
};

/** Null where there is none, or GRAFT_NCCL is `none`. */
const Nccl* nccl() {
  static const Nccl* const loaded = []() -> const Nccl* {
    const char* set = std::getenv("GRAFT_NCCL");
    void* library = set && std::strcmp(set, "none") == 0 ? nullptr : openLibrary({"libnccl.so.2"});
    if (!library) return nullptr;
    auto* n = new Nccl();
#define BIND(name)                                                      \
  n->name = reinterpret_cast<decltype(n->name)>(symbol(library, #name)); \
  if (!n->name) fail("cuda: libnccl.so.2 has no " #name);
    BIND(ncclGetUniqueId) BIND(ncclCommInitRank) BIND(ncclAllReduce) BIND(ncclCommAbort) BIND(ncclGetErrorString)
#undef BIND
    return n;
  }();
  return loaded;
}

void checkNccl(int status, const char* what) {
  if (status != 0) fail("cuda: NCCL: %s: %s", what, nccl()->ncclGetErrorString(status));
}

Handle comm = nullptr;

UniqueId& identity(const Args& args, int i) {
  int64_t bytes = 0;
  void* at = args.typedArray(i, bytes);
  if (bytes != int64_t(sizeof(UniqueId))) fail("cuda:nccl: an identity has 128 bytes");
  return *static_cast<UniqueId*>(at);
}

}  // namespace

/** cuda:ncclIdentity(Uint8Array of 128): what rank 0 makes and all are given; false without NCCL. */
GRAFT_EXPORT_AS("cuda:ncclIdentity", ncclIdentity) {
  args.returns(nccl() != nullptr);
  if (nccl()) checkNccl(nccl()->ncclGetUniqueId(&identity(args, 0)), "an identity");
}

/** cuda:ncclOpen(identity, rank, size): once every rank has called it. */
GRAFT_EXPORT_AS("cuda:ncclOpen", ncclOpen) {
  if (!nccl()) fail("cuda: rank 0 has NCCL, rank %lld does not: libnccl.so.2 was not found", static_cast<long long>(args.integer(1)));
  device();
  checkNccl(nccl()->ncclCommInitRank(&comm, int(args.integer(2)), identity(args, 0), int(args.integer(1))), "starting");
}

/** cuda:ncclSum(handle): in place of its floats the sum over all ranks. Looks on while it waits whether all are still there. */
GRAFT_CUDA(ncclSum) {
  if (!comm) fail("cuda: NCCL was not started");
  const int64_t n = call.count(0);
  const Pointer x = call.f32(0);
  call.outF32(0, n);
  checkNccl(nccl()->ncclAllReduce(x.address, x.address, size_t(n), kFloats, kSum, comm, device().stream), "a sum over all ranks");
  static const Handle arrived = [] {
    Handle event = nullptr;
    check(driver().cuEventCreate(&event, kNoTiming), "an event");
    return event;
  }();
  check(driver().cuEventRecord(arrived, device().stream), "an event");
  for (int status; (status = driver().cuEventQuery(arrived)) != 0;) {
    if (status != kNotReady) check(status, "a sum over all ranks");
    if (const int gone = rankGone(); gone >= 0) {
      nccl()->ncclCommAbort(comm);
      comm = nullptr;
      failForRank(gone);
    }
    usleep(20);
  }
}
