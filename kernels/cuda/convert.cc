#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel castKernel("convert", "cast"), fillKernel("convert", "fill"), widen("convert", "widen");

GRAFT_CUDA(cast) {
  const int64_t n = call.count(0);
  launch(castKernel, {blocks(n, 256)}, 256, 0, call.input(0), int(call.storage(0)), call.output(1, n), int(call.storage(1)), Index(n));
}

GRAFT_CUDA(fill) {
  const int64_t n = call.count(0);
  launch(fillKernel, {blocks(n, 256)}, 256, 0, call.output(0, n), int(call.storage(0)), call.number(1), Index(n));
}

GRAFT_CUDA(copyFloats) {
  const int64_t n = call.count(0);
  launch(widen, {blocks(n, 256)}, 256, 0, call.input(0), int(call.storage(0)), call.outF32(1, n), Index(n));
}
