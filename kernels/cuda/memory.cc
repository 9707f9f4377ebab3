// Buffers that are on the GPU, on the host or on both, and the exports that make, fill and read them.
#include "memory.h"

#include "compile.h"
#include "graph.h"
#include "offload.h"

#include <cstring>

namespace graft {

void toHost(Buffer& b, bool write) {
  Mirror& m = *b.mirror;
  cuda::counters().touched++;
  const int64_t bytes = b.count * sizeOf(b.storage);
  if (!b.data) b.data = allocate(bytes);
  if (!m.onHost && m.onDevice) cuda::toHostMemory(b.data, m.pointer, bytes);
  m.onHost = true;
  if (write && !b.frozen()) m.onDevice = false;
}

namespace cuda {

Pointer toDevice(Buffer& b, bool write) {
  if (offloaded(b) && !(b.mirror && b.mirror->pointer)) return onLoan(b);
  const int64_t bytes = b.count * sizeOf(b.storage);
  if (!b.mirror) {
    b.mirror = std::make_shared<Mirror>();
    b.mirror->onHost = true;
  }
  Mirror& m = *b.mirror;
  const bool older = recording() && (b.frozen() || recording()->isOlder(m.born));
  if (older && (!m.pointer || (m.onHost && !m.onDevice))) notWhileRecording("a tensor that first goes to the GPU");
  if (older && !recording()->owns(m.pointer)) recording()->uses(b.mirror, m.pointer, write);
  if (!m.pointer) {
    m.pointer = allocate(bytes);
    m.bytes = bytes;
    m.weight = b.frozen();
    if (m.weight) counters().weights += bytes;
  }
  if (m.onHost && !m.onDevice) {
    const Untraced once(b.frozen() || olderThanTrace(m.born));
    toDevice(m.pointer, b.data, bytes);
  }
  m.onDevice = true;
  if (write) {
    m.onHost = false;
    graft::release(b.data, bytes);
    b.data = nullptr;
  }
  return m.pointer;
}

}  // namespace cuda
}  // namespace graft

using namespace graft;

static constexpr int64_t kKept = 1 << 20;  // bytes

/** cuda:start(ordinal, folder of the .cu files, folder of the cache or '') */
GRAFT_EXPORT_AS("cuda:start", cudaStart) { cuda::start(int(args.integer(0)), args.text(1), args.text(2)); }

/** cuda:compile(folder, file, architecture): the size of its binary. No GPU is needed. */
GRAFT_EXPORT_AS("cuda:compile", cudaCompile) { args.returns(double(cuda::compileFor(args.text(0), args.text(1), args.text(2)).size())); }

/** cuda:counters(i): live, peak, cached bytes; buffers brought to the host for what the GPU has no kernel for; launches. */
GRAFT_EXPORT_AS("cuda:counters", cudaCounters) {
  const auto& c = cuda::counters();
  const int64_t values[] = {c.live, c.peak, c.cached, c.touched, c.launches}, i = args.integer(0);
  if (i < 0 || i > 4) fail("cuda:counters: 0 to 4");
  args.returns(double(values[i]));
}

GRAFT_CUDA(create) {
  const int64_t storage = call.integer(1), count = call.integer(0);
  if (storage < int64_t(Storage::F32) || storage > int64_t(Storage::BOOL)) fail("create: no storage %lld", static_cast<long long>(storage));
  if (count < 0 || count > int64_t(1) << 53) fail("a buffer cannot hold %lld elements", static_cast<long long>(count));
  auto b = std::make_unique<Buffer>();
  b->count = count;
  b->storage = Storage(storage);
  b->mirror = std::make_shared<Mirror>();
  call.returns(adoptBuffer(std::move(b)));
}

GRAFT_CUDA(upload) {
  Buffer& b = graft::buffer(call.handle(0));
  int64_t bytes = 0;
  const void* from = call.typedArray(1, bytes);
  if (b.frozen() || bytes != b.count * sizeOf(b.storage)) fail("upload: %lld bytes do not fit the buffer", static_cast<long long>(bytes));
  cuda::toDevice(cuda::toDevice(b, true), from, bytes);
  if (b.storage != Storage::I32 || bytes > kKept) return;
  // Indices and labels stay at hand, where they are checked before the GPU reads them.
  b.data = graft::allocate(bytes);
  std::memcpy(b.data, from, size_t(bytes));
  b.mirror->onHost = true;
}

GRAFT_CUDA(download) {
  Buffer& b = graft::buffer(call.handle(0));
  int64_t bytes = 0;
  void* to = call.typedArray(1, bytes);
  const bool narrow = b.storage == Storage::F16 || b.storage == Storage::BF16;
  if (bytes != b.count * (narrow ? 4 : sizeOf(b.storage))) fail("download: the array has the wrong size");
  if (narrow) cuda::toHostMemory(to, call.f32(0), bytes);
  else if (b.data && (!b.mirror || b.mirror->onHost)) std::memcpy(to, b.data, size_t(bytes));
  else cuda::toHostMemory(to, cuda::toDevice(b, false), bytes);
}

/** counter(i): as graft-cpu's, of the GPU's memory; `packed` are the copies of mapped weights there. */
GRAFT_CUDA(counter) {
  const auto& c = cuda::counters();
  const auto& host = graft::counters();
  const int64_t values[] = {c.live, c.peak, c.cached, host.mapped, c.weights, host.buffers}, i = call.integer(0);
  if (i < 0 || i > 5) fail("counter: 0 to 5");
  call.returns(double(values[i]));
}
