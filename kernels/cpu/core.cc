// The handle table and the exports that manage buffers.
#include "core.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "convert.h"

namespace graft {

void fail(const char* format, ...) {
  char text[512];
  va_list list;
  va_start(list, format);
  std::vsnprintf(text, sizeof text, format, list);
  va_end(list);
  throw Error{text};
}

int64_t elements(const int64_t* sizes, size_t rank) {
  int64_t count = 1;
  for (size_t i = 0; i < rank; i++)
    if (sizes[i] < 0 || __builtin_mul_overflow(count, sizes[i], &count) || count > int64_t(1) << 53) fail("a shape with the size %lld is impossible", static_cast<long long>(sizes[i]));
  return count;
}

namespace {
struct Table {
  std::vector<std::unique_ptr<Buffer>> slots;
  std::vector<int32_t> vacant;
};
Table& table() {
  static auto* t = new Table();
  return *t;
}
}  // namespace

int32_t adoptBuffer(std::unique_ptr<Buffer> b) {
  auto& t = table();
  counters().buffers++;
  if (t.vacant.empty()) {
    t.slots.push_back(std::move(b));
    return int32_t(t.slots.size() - 1);
  }
  const int32_t handle = t.vacant.back();
  t.vacant.pop_back();
  t.slots[size_t(handle)] = std::move(b);
  return handle;
}

int32_t createBuffer(int64_t count, Storage storage) {
  if (count < 0 || count > int64_t(1) << 53) fail("a buffer cannot hold %lld elements", static_cast<long long>(count));
  auto b = std::make_unique<Buffer>();
  b->data = allocate(count * sizeOf(storage));
  b->count = count;
  b->storage = storage;
  return adoptBuffer(std::move(b));
}

void destroyBuffer(int32_t handle) {
  Buffer& b = buffer(handle);
  if (!b.region) release(b.data, b.count * sizeOf(b.storage));
  table().slots[size_t(handle)].reset();
  table().vacant.push_back(handle);
  counters().buffers--;
}

Buffer& buffer(int32_t handle) {
  auto& slots = table().slots;
  if (handle < 0 || size_t(handle) >= slots.size() || !slots[size_t(handle)]) fail("no buffer has handle %d", handle);
  return *slots[size_t(handle)];
}

const float* f32(const Buffer& b, Scratch& scratch) {
  if (b.storage == Storage::F32) return static_cast<const float*>(b.data);
  float* out = scratch.floats(b.count);
  toFloat(b, 0, b.count, out);
  return out;
}

void toFloat(const Buffer& b, int64_t begin, int64_t n, float* out) {
  const int64_t size = sizeOf(b.storage);
  const char* from = static_cast<const char*>(b.data) + begin * size;
  if (b.storage == Storage::F32) {
    std::memcpy(out, from, size_t(n) * 4);
    return;
  }
  parallelFor(n, 1 << 16, [&](int64_t i, int64_t end) { widen(from + i * size, int(b.storage), out + i, end - i); });
}

}  // namespace graft

GRAFT_EXPORT(create) {
  const int64_t storage = args.integer(1);
  if (storage < int64_t(graft::Storage::F32) || storage > int64_t(graft::Storage::BOOL)) graft::fail("create: no storage %lld", static_cast<long long>(storage));
  args.returns(graft::createBuffer(args.integer(0), graft::Storage(storage)));
}
GRAFT_EXPORT(destroy) { graft::destroyBuffer(args.handle(0)); }
GRAFT_EXPORT(threads) {
  if (!args.none(0)) graft::setThreadCount(int(args.integer(0)));
  args.returns(graft::threadCount());
}

/** upload(handle, typedArray): same bytes. */
GRAFT_EXPORT(upload) {
  graft::Buffer& b = args.buffer(0);
  int64_t bytes = 0;
  const void* from = args.typedArray(1, bytes);
  if (b.frozen() || bytes != b.count * graft::sizeOf(b.storage)) graft::fail("upload: %lld bytes do not fit the buffer", static_cast<long long>(bytes));
  if (bytes) std::memcpy(b.data, from, size_t(bytes));
}

/** download(handle, typedArray): same bytes, or float32 from the narrower floats. */
GRAFT_EXPORT(download) {
  const graft::Buffer& b = args.buffer(0);
  int64_t bytes = 0;
  void* to = args.typedArray(1, bytes);
  const bool narrow = b.storage == graft::Storage::F16 || b.storage == graft::Storage::BF16;
  if (bytes != b.count * (narrow ? 4 : graft::sizeOf(b.storage))) graft::fail("download: the array has the wrong size");
  if (narrow) graft::toFloat(b, 0, b.count, static_cast<float*>(to));
  else if (bytes) std::memcpy(to, b.data, size_t(bytes));
}

/** counter(i): live, peak, cached, mapped, packed bytes; live buffers. */
GRAFT_EXPORT(counter) {
  const auto& c = graft::counters();
  const int64_t values[] = {c.live, c.peak, c.cached, c.mapped, c.packed, c.buffers};
  const int64_t i = args.integer(0);
  if (i < 0 || i > 5) graft::fail("counter: 0 to 5");
  args.returns(double(values[i]));
}

/** memoryLimit(bytes): more than that is out of memory; 0: whatever the system gives. */
GRAFT_EXPORT(memoryLimit) { graft::counters().limit = args.integer(0); }

GRAFT_EXPORT(count) { args.returns(double(args.count(0))); }
