#include <algorithm>

#include "memory.h"
#include "reduce.h"

using namespace graft;
using namespace graft::cuda;

static Kernel normKernel("norm", "norm"), gradient("norm", "normGrad"), gamma("norm", "normGamma"), finish("reduce", "finish");

static unsigned threadsFor(int64_t n) { return n <= 64 ? 32 : n <= 512 ? 128 : 256; }

/** norm(x, γ, β or none, y, mean, rstd, ε, centred) */
GRAFT_CUDA(norm) {
  const int64_t count = call.count(0), n = call.count(1), rows = n ? count / n : 0;
  const Pointer x = call.f32(0, rows * n), g = call.f32(1), b = call.f32OrNull(2, n), y = call.outF32(3, count), mean = call.outF32(4, rows), rstd = call.outF32(5, rows);
  launch(normKernel, {rows}, threadsFor(n), 0, x, g, b, y, mean, rstd, Index(n), call.number(6), int(call.flag(7)));
}

/** normGrad(dy, x, γ, mean, rstd, dx, centred) */
GRAFT_CUDA(normGrad) {
  const int64_t count = call.count(0), n = call.count(2), rows = n ? count / n : 0;
  const Pointer dy = call.f32(0, rows * n), x = call.f32(1, count), g = call.f32(2), mean = call.f32(3, rows), rstd = call.f32(4, rows), dx = call.outF32(5, count);
  launch(gradient, {rows}, threadsFor(n), 0, dy, x, g, mean, rstd, dx, Index(n), int(call.flag(6)));
}

/** normGammaGrad(dy, x, mean, rstd, dγ) */
GRAFT_CUDA(normGammaGrad) {
  const int64_t count = call.count(0), n = call.count(4), rows = n ? count / n : 0, chunks = std::max<int64_t>(1, std::min<int64_t>(128, rows / 64)), perChunk = blocks(rows, chunks);
  const Pointer dy = call.f32(0, rows * n), x = call.f32(1, count), mean = call.f32(2, rows), rstd = call.f32(3, rows), dgamma = call.outF32(4, n);
  const Pointer partial = call.temporary(chunks * n * 8);
  launch(gamma, {blocks(n, 32), chunks}, 256, 0, dy, x, mean, rstd, partial, Index(rows), Index(n), Index(perChunk));
  launch(finish, {blocks(n, 256)}, 256, 0, int(kSum), partial, dgamma, int(kF32), Index(chunks), Index(n), 1.0, Index(n));
}
