// Moving elements: one strided copy serves transposition, slices, concatenation, padding, tiling and reversal.
#include <algorithm>
#include <cstring>
#include <vector>

#include "convert.h"
#include "copy.h"

namespace graft {
namespace {

constexpr int64_t kBytes = 1 << 16;  // per part
constexpr int64_t kTile = 16;

/** f(offset from, offset to, i) for i in [begin, end) of the product of the axes. */
template <class F>
void walk(const std::vector<Axis>& axes, int64_t begin, int64_t end, F f) {
  std::vector<int64_t> at(axes.size());
  int64_t from = 0, to = 0, rest = begin;
  for (size_t i = axes.size(); i-- > 0;) {
    at[i] = rest % axes[i].size;
    rest /= axes[i].size;
    from += at[i] * axes[i].from;
    to += at[i] * axes[i].to;
  }
  for (int64_t n = begin; n < end; n++) {
    f(from, to);
    for (size_t i = axes.size(); i-- > 0;) {
      from += axes[i].from;
      to += axes[i].to;
      if (++at[i] < axes[i].size) break;
      from -= at[i] * axes[i].from;
      to -= at[i] * axes[i].to;
      at[i] = 0;
    }
  }
}

template <class T>
void copyRuns(const T* x, T* y, const std::vector<Axis>& outer, int64_t rows, const Axis& run) {
  if (rows == 1 && run.from == 1 && run.to == 1) {
    parallelFor(run.size, kBytes, [&](int64_t begin, int64_t end) { std::memcpy(y + begin, x + begin, size_t(end - begin) * sizeof(T)); });
    return;
  }
  parallelFor(rows, std::max<int64_t>(1, kBytes / int64_t(sizeof(T)) / run.size), [&](int64_t begin, int64_t end) {
    walk(outer, begin, end, [&](int64_t from, int64_t to) {
      const T* p = x + from;
      T* q = y + to;
      if (run.from == 1 && run.to == 1) std::memcpy(q, p, size_t(run.size) * sizeof(T));
      else if (run.to == 1) for (int64_t i = 0; i < run.size; i++) q[i] = p[i * run.from];
      else for (int64_t i = 0; i < run.size; i++) q[i * run.to] = p[i * run.from];
    });
  });
}

/** Axis `a` is contiguous in x, axis `b` in y: tiles of both, so that neither side misses its cache lines. */
template <class T>
void copyTiles(const T* x, T* y, std::vector<Axis> outer, int64_t rows, const Axis& a, const Axis& b) {
  const int64_t tiles = (a.size + kTile - 1) / kTile;
  outer.push_back({tiles, a.from * kTile, a.to * kTile});
  const int64_t grain = std::max<int64_t>(1, kBytes / int64_t(sizeof(T)) / (kTile * b.size));
  parallelFor(rows * tiles, grain, [&](int64_t begin, int64_t end) {
    int64_t n = begin;
    walk(outer, begin, end, [&](int64_t from, int64_t to) {
      const int64_t height = std::min(kTile, a.size - n++ % tiles * kTile);
      for (int64_t j0 = 0; j0 < b.size; j0 += kTile) {
        const int64_t width = std::min(kTile, b.size - j0);
        T tile[kTile][kTile];  // rows of x, read along memory
        const bool whole = height == kTile && width == kTile;  // sizes known to the compiler
        for (int64_t j = 0; j < width; j++) std::memcpy(tile[j], x + from + (j0 + j) * b.from, whole ? sizeof tile[j] : size_t(height) * sizeof(T));
        for (int64_t i = 0; i < height; i++) {
          T* q = y + to + i * a.to + j0;
          if (whole) for (int64_t j = 0; j < kTile; j++) q[j] = tile[j][i];
          else for (int64_t j = 0; j < width; j++) q[j] = tile[j][i];
        }
      }
    });
  });
}

template <class T>
void copyStrided(const T* x, T* y, std::vector<Axis> axes) {
  const Axis inner = axes.back();
  axes.pop_back();
  int64_t rows = 1;
  for (const Axis& a : axes) rows *= a.size;
  auto contiguous = std::find_if(axes.begin(), axes.end(), [](const Axis& a) { return a.from == 1; });
  if (inner.to == 1 && inner.from != 1 && inner.size > 1 && contiguous != axes.end()) {
    const Axis a = *contiguous;
    axes.erase(contiguous);
    return copyTiles(x, y, axes, rows / a.size, a, inner);
  }
  copyRuns(x, y, axes, rows, inner);
}

}  // namespace
}  // namespace graft

/** copy(x, offset, strides, y, offset, strides, shape): strides in elements, those of x also 0 or negative. */
GRAFT_EXPORT(copy) {
  using namespace graft;
  const Buffer& x = args.input(0);
  Buffer& y = args.buffer(3);
  const CopyPlan plan(args, x, y);
  if (plan.axes.empty()) return;
  if (y.storage == Storage::BOOL)
    return copyStrided(static_cast<const uint8_t*>(x.data) + plan.from, static_cast<uint8_t*>(y.data) + plan.to, plan.axes);
  Scratch scratch;
  const uint32_t* source = static_cast<const uint32_t*>(x.data) + plan.from;
  if (sizeOf(x.storage) == 2) {  // widen no more than what is read
    float* wide = scratch.floats(plan.high - plan.low + 1);
    toFloat(x, plan.low, plan.high - plan.low + 1, wide);
    source = reinterpret_cast<const uint32_t*>(wide) + (plan.from - plan.low);
  }
  copyStrided(source, static_cast<uint32_t*>(y.data) + plan.to, plan.axes);
}
