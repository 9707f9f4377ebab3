#include "copy.h"

#include "../cpu/copy.h"
#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel copyBox("copy", "copyBox"), copyTiles("copy", "copyTiles");

GRAFT_CUDA(copy) {
  const CopyPlan plan(call, call.buffer(0), call.buffer(3));
  if (plan.axes.empty()) return;
  std::vector<Axis> axes(plan.axes.rbegin(), plan.axes.rend());  // the innermost first
  const auto contiguous = std::find_if(axes.begin() + 1, axes.end(), [](const Axis& a) { return a.from == 1; });
  const bool tiles = axes[0].to == 1 && axes[0].from != 1 && contiguous != axes.end() && axes[0].size >= 8 && contiguous->size >= 8;
  if (tiles) std::rotate(axes.begin() + 1, contiguous, contiguous + 1);
  Box box = {int(axes.size()), {}, {}, {}};
  int64_t n = 1;
  for (const Axis& a : axes) n *= a.size;
  if (box.rank > kCopyAxes || n > UINT32_MAX) fail("copy: %d axes, %lld elements are too many", box.rank, static_cast<long long>(n));
  for (size_t k = 0; k < axes.size(); k++) box.size[k] = unsigned(axes[k].size), box.from[k] = axes[k].from, box.to[k] = axes[k].to;
  const Pointer x = call.input(0), y = call.output(3, call.count(3));
  const int storage = int(call.storage(0)), bytes = int(sizeOf(call.storage(3)));
  if (tiles) {
    const int64_t across = blocks(axes[0].size, kCopyTile), down = blocks(axes[1].size, kCopyTile), rest = n / axes[0].size / axes[1].size;
    launch(copyTiles, {across * down * rest}, 256, 0, x, storage, Index(plan.from), y, bytes, Index(plan.to), box, unsigned(across), unsigned(down));
  } else {
    launch(copyBox, {blocks(n, 256)}, 256, 0, x, storage, Index(plan.from), y, bytes, Index(plan.to), box, unsigned(n));
  }
}
