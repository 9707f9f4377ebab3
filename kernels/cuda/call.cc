#include "memory.h"

namespace graft {
namespace cuda {
namespace {

const char* const kNames[] = {"float32", "int32", "bool", "float16", "bfloat16"};
Kernel widen("convert", "widen");

}  // namespace

Call::~Call() {
  for (const auto& t : temporaries_) release(t.first, t.second);
}

Pointer Call::temporary(int64_t bytes) {
  if (bytes < 0) fail("%lld bytes of memory", static_cast<long long>(bytes));
  temporaries_.emplace_back(allocate(bytes), bytes);
  return temporaries_.back().first;
}

Pointer Call::sent(const void* values, int64_t bytes) {
  const Pointer p = temporary(bytes);
  toDevice(p, values, bytes);
  return p;
}

Pointer Call::f32(int i) {
  Buffer& b = buffer(i);
  const Pointer x = toDevice(b, false);
  if (b.storage == Storage::F32) return x;
  const Pointer y = floats(b.count);
  launch(widen, {blocks(b.count, 256)}, 256, 0, x, int(b.storage), y, Index(b.count));
  return y;
}

Pointer Call::f32(int i, int64_t n) {
  if (count(i) != n) fail("argument %d holds %lld elements, not %lld", i, static_cast<long long>(count(i)), static_cast<long long>(n));
  return f32(i);
}

Pointer Call::i32(int i) const {
  if (storage(i) != Storage::I32) fail("argument %d is %s, not int32", i, kNames[int(storage(i))]);
  return input(i);
}

Pointer Call::boolean(int i) const {
  if (storage(i) != Storage::BOOL) fail("argument %d is %s, not bool", i, kNames[int(storage(i))]);
  return input(i);
}

Pointer Call::output(int i, Storage storage, int64_t n) const {
  Buffer& b = buffer(i);
  if (b.frozen()) fail("argument %d is read-only: a mapped weight", i);
  if (b.storage != storage) fail("argument %d is %s, not %s", i, kNames[int(b.storage)], kNames[int(storage)]);
  if (b.count != n) fail("argument %d holds %lld elements, not %lld", i, static_cast<long long>(b.count), static_cast<long long>(n));
  return toDevice(b, true);
}

Pointer Call::output(int i, int64_t n) const {
  if (buffer(i).frozen() || count(i) != n) fail("argument %d must be writable and hold %lld elements", i, static_cast<long long>(n));
  return toDevice(buffer(i), true);
}

}  // namespace cuda
}  // namespace graft
