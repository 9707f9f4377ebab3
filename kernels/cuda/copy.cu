#include "copy.h"
#include "device.cuh"

inline void move(const void* x, int storage, Index from, void* y, int bytes, Index to) {
  if (bytes == 1) static_cast<uint8_t*>(y)[to] = static_cast<const uint8_t*>(x)[from];
  else if (storage == kF16 || storage == kBf16) static_cast<float*>(y)[to] = loadFloat(x, storage, from);
  else static_cast<uint32_t*>(y)[to] = static_cast<const uint32_t*>(x)[from];
}

inline void offsets(const Box& box, int first, unsigned i, Index& from, Index& to) {
  for (int k = first; k < box.rank; k++) {
    const unsigned next = k + 1 < box.rank ? i / box.size[k] : 0, at = k + 1 < box.rank ? i - next * box.size[k] : i;
    from += at * box.from[k];
    to += at * box.to[k];
    i = next;
  }
}

/** y[to + …] = x[from + …], elements of 4 bytes or 1 (or floats of 2 that are widened). */
KERNEL(256, copyBox, const void* x, int storage, Index from, void* y, int bytes, Index to, Box box, unsigned n) {
  const Index i = threadNumber();
  if (i >= n) return;
  offsets(box, 0, unsigned(i), from, to);
  move(x, storage, from, y, bytes, to);
}

/** The same where axis 1 is contiguous in x and axis 0 in y: tiles, read along one and written along the other. 32 x 8 threads. */
KERNEL(256, copyTiles, const void* x, int storage, Index from, void* y, int bytes, Index to, Box box, unsigned across, unsigned down) {
  SHARED(uint32_t, tile, kCopyTile * (kCopyTile + 1));
  const unsigned block = blockIdx.x, lane = threadIdx.x & 31, group = threadIdx.x >> 5;
  const unsigned left = block % across * kCopyTile, top = block / across % down * kCopyTile;
  offsets(box, 2, block / across / down, from, to);
  for (unsigned r = group; r < kCopyTile; r += 8) {  // row r of the tile: element left + r of axis 0
    if (left + r >= box.size[0] || top + lane >= box.size[1]) continue;
    const Index at = from + (left + r) * box.from[0] + (top + lane) * box.from[1];
    uint32_t& into = tile[r * (kCopyTile + 1) + lane];
    if (bytes == 1) into = static_cast<const uint8_t*>(x)[at];
    else if (storage == kF16 || storage == kBf16) into = __float_as_uint(loadFloat(x, storage, at));
    else into = static_cast<const uint32_t*>(x)[at];
  }
  __syncthreads();
  for (unsigned r = group; r < kCopyTile; r += 8) {
    if (top + r >= box.size[1] || left + lane >= box.size[0]) continue;
    const Index at = to + (top + r) * box.to[1] + (left + lane) * box.to[0];
    const uint32_t value = tile[lane * (kCopyTile + 1) + r];
    if (bytes == 1) static_cast<uint8_t*>(y)[at] = uint8_t(value);
    else static_cast<uint32_t*>(y)[at] = value;
  }
}
