// What a strided copy moves, from its arguments.
#pragma once

#include <algorithm>
#include <vector>

#include "core.h"

namespace graft {

struct Axis { int64_t size, from, to; };  // strides in elements

/** Axes in the order of the output's memory, outermost first; neighbours that are contiguous on both sides are one. */
inline std::vector<Axis> normalised(const std::vector<int64_t>& shape, const std::vector<int64_t>& from, const std::vector<int64_t>& to) {
  std::vector<Axis> axes, merged;
  for (size_t i = 0; i < shape.size(); i++)
    if (shape[i] != 1) axes.push_back({shape[i], from[i], to[i]});
  std::stable_sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return a.to > b.to; });
  for (const Axis& a : axes) {
    if (!merged.empty() && merged.back().from == a.from * a.size && merged.back().to == a.to * a.size) merged.back() = {merged.back().size * a.size, a.from, a.to};
    else merged.push_back(a);
  }
  if (merged.empty()) merged.push_back({1, 1, 1});
  return merged;
}

/** The range of offsets that strides reach over a shape. @throws where it is not within `count` elements */
inline void reach(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides, int64_t offset, int64_t count, int64_t& low, int64_t& high) {
  __int128 from = offset, to = offset;
  for (size_t i = 0; i < shape.size(); i++) (strides[i] < 0 ? from : to) += __int128(shape[i] - 1) * strides[i];
  if (from < 0 || to >= count) fail("copy: out of bounds");
  low = int64_t(from), high = int64_t(to);
}

/** Of copy(x, offset, strides, y, offset, strides, shape). Without axes there is nothing to copy. @throws where it would leave its operands */
struct CopyPlan {
  std::vector<Axis> axes;
  int64_t from = 0, to = 0;   // offsets of the first element
  int64_t low = 0, high = 0;  // of x, what is read

  CopyPlan(const Args& args, const Buffer& x, const Buffer& y) : from(args.integer(1)), to(args.integer(4)) {
    const auto stepsX = args.ints(2), stepsY = args.ints(5), shape = args.ints(6);
    if (stepsX.size() != shape.size() || stepsY.size() != shape.size()) fail("copy: one stride per axis");
    if (elements(shape) == 0) return;
    int64_t lowY, highY;
    reach(shape, stepsX, from, x.count, low, high);
    reach(shape, stepsY, to, y.count, lowY, highY);
    if (y.frozen()) fail("copy: into a mapped weight");
    if ((x.storage == Storage::BOOL) != (y.storage == Storage::BOOL) || sizeOf(y.storage) == 2) fail("copy: the storages differ");
    axes = normalised(shape, stepsX, stepsY);
  }
};

}  // namespace graft
