#include "panels.h"

#include "tile.h"
#include "transpose.h"

namespace graft {
namespace GRAFT_ISA {

static constexpr int MR = kTileRows, NR = kTileColumns;
static constexpr int kWidest = NR > MR ? NR : MR;

void gemmTile(int* mr, int* nr) { *mr = MR; *nr = NR; }

static inline void toFloats(const uint16_t* x, int storage, int64_t n, float* out) {
  if (storage == 3) return f16ToFloat(x, out, n);
  for (int64_t i = 0; i < n; i++) out[i] = bf16ToFloat(x[i]);
}

/** Panels of floats. */
struct Floats {
  static constexpr int64_t kChunk = 128;

  static void pack(const void* x, int storage, int64_t rs, int64_t cs, int here, int64_t depth, int width, Unit* out) {
    const float* f = static_cast<const float*>(x);
    const uint16_t* h = static_cast<const uint16_t*>(x);
    if (cs == 1 && storage == 0) {
      transpose(static_cast<const Unit*>(x), rs, here, depth, width, out);
    } else if (cs == 1) {
      float wide[kWidest * kChunk];
      for (int64_t p = 0; p < depth; p += kChunk) {
        const int64_t n = depth - p < kChunk ? depth - p : kChunk;
        for (int i = 0; i < here; i++) toFloats(h + i * rs + p, storage, n, wide + i * kChunk);
        transpose(reinterpret_cast<const Unit*>(wide), kChunk, here, n, width, out + p * width);
      }
    } else {
      for (int64_t p = 0; p < depth; p++) {
        float* row = reinterpret_cast<float*>(out + p * width);
        if (storage == 0 && rs == 1) copy(f + p * cs, here, row);
        else if (storage == 0) for (int i = 0; i < here; i++) row[i] = f[p * cs + i * rs];
        else if (rs == 1) toFloats(h + p * cs, storage, here, row);
        else for (int i = 0; i < here; i++) toFloats(h + p * cs + i * rs, storage, 1, row + i);
      }
    }
    if (here < width)
      for (int64_t p = 0; p < depth; p++)
        for (int i = here; i < width; i++) out[p * width + i] = 0;
  }

  static void copy(const float* from, int here, float* to) {
    if (here == MR) return (void)__builtin_memcpy(to, from, MR * sizeof(float));
    int i = 0;
    for (; i + kLanes <= here; i += kLanes) store(to + i, load(from + i));
    for (; i < here; i++) to[i] = from[i];
  }
};

/** Panels of pairs of bf16, rounded to the nearest even; the first of a pair is in the low half of its unit. */
struct Pairs {
  static constexpr int64_t kChunk = 256;
  typedef uint32_t vu __attribute__((vector_size(kLanes * 4)));
  typedef uint16_t vh __attribute__((vector_size(kLanes * 2)));

  /** The upper halves are the rounded values. */
  static vu rounded(vf x) {
    const vu bits = (vu)x, up = bits + 0x7fffu + ((bits >> 16) & 1u);
    const vu nan = (vu)(x != x);
    return (nan & (bits | 0x400000u)) | (~nan & up);
  }

  /** n values along memory as bf16. */
  static void narrow(const void* x, int storage, int64_t n, uint16_t* out) {
    if (storage == 4) return (void)__builtin_memcpy(out, x, n * 2);
    int64_t i = 0;
    for (; i < n; i += kLanes) {
      const int64_t left = n - i < kLanes ? n - i : kLanes;
      float wide[kLanes] = {};
      if (storage == 3) f16ToFloat(static_cast<const uint16_t*>(x) + i, wide, left);
      else if (left == kLanes) store(wide, load(static_cast<const float*>(x) + i));
      else __builtin_memcpy(wide, static_cast<const float*>(x) + i, left * 4);
      const vh y = __builtin_convertvector(rounded(load(wide)) >> 16, vh);
      __builtin_memcpy(out + i, &y, left * 2);
    }
  }

  static void pack(const void* x, int storage, int64_t rs, int64_t cs, int here, int64_t depth, int width, Unit* out) {
    const int64_t size = storage == 0 ? 4 : 2;
    const char* bytes = static_cast<const char*>(x);
    const auto at = [&](int64_t i, int64_t p) { return bytes + (i * rs + p * cs) * size; };
    if (cs == 1) {
      alignas(64) uint16_t some[kWidest * kChunk];
      for (int64_t p = 0; p < depth; p += kChunk) {
        const int64_t n = depth - p < kChunk ? depth - p : kChunk;
        for (int i = 0; i < here; i++) {
          for (int64_t q = 0; q < n * size; q += 64) __builtin_prefetch(at(i + 2, p) + q);  // the rows that come next
          narrow(at(i, p), storage, n, some + i * kChunk);
          if (n % 2) some[i * kChunk + n] = 0;
        }
        transpose(reinterpret_cast<const Unit*>(some), kChunk / 2, here, (n + 1) / 2, width, out + p / 2 * width);
      }
    } else {
      uint16_t row[2][kWidest] = {};
      for (int64_t p = 0; p < depth; p += 2) {
        for (int64_t q = 0; q < 2; q++) {
          if (p + q == depth) for (int i = 0; i < here; i++) row[q][i] = 0;
          else if (rs == 1) narrow(at(0, p + q), storage, here, row[q]);
          else for (int i = 0; i < here; i++) narrow(at(i, p + q), storage, 1, row[q] + i);
        }
        for (int i = 0; i < here; i++) out[p / 2 * width + i] = uint32_t(row[1][i]) << 16 | row[0][i];
      }
    }
    if (here < width)
      for (int64_t p = 0; p < (depth + 1) / 2; p++)
        for (int i = here; i < width; i++) out[p * width + i] = 0;
  }
};

template <class F>
static void packPanels(const void* x, int storage, int64_t rs, int64_t cs, int64_t rows, int64_t depth, int width, int64_t units, Unit* out) {
  const int64_t size = storage == 0 ? 4 : 2;
  for (int64_t top = 0; top < rows; top += width, out += units * width)
    F::pack(static_cast<const char*>(x) + top * rs * size, storage, rs, cs, int(rows - top < width ? rows - top : width), depth, width, out);
}

void gemmPack(bool half, const void* x, int storage, int64_t rs, int64_t cs, int64_t rows, int64_t depth, int width, Unit* out) {
  (half ? packPanels<Pairs> : packPanels<Floats>)(x, storage, rs, cs, rows, depth, width, half ? (depth + 1) / 2 : depth, out);
}

}  // namespace GRAFT_ISA
}  // namespace graft
