#include "optimise.h"

#include <algorithm>

#include "../cpu/optimise.h"
#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel adamwKernel("optimise", "adamw"), sgdKernel("optimise", "sgd"), squaresKernel("optimise", "squares"), totalKernel("optimise", "total");

/** adamw(handles, numbers) */
GRAFT_CUDA(adamw) {
  const auto handles = call.ints(0);
  if (handles.size() % 4) fail("adamw: four buffers a tensor, not %zu in all", handles.size());
  const double* numbers = adamwNumbers(call, handles.size() / 4);
  std::vector<AdamWTensor> tensors;
  int64_t total = 0;
  for (size_t t = 0; t < handles.size(); t += 4) {
    const auto buffer = [&](size_t i) -> Buffer& { return graft::buffer(int32_t(handles[t + i])); };
    const int64_t n = buffer(0).count;
    for (size_t i = 0; i < 4; i++)
      if (buffer(i).storage != Storage::F32 || buffer(i).count != n || (i != 1 && buffer(i).frozen())) fail("adamw: tensor %zu is not writable float32 of %lld elements throughout", t / 4, static_cast<long long>(n));
    if (n == 0) continue;
    const auto at = [&](size_t i) { return Index(toDevice(buffer(i), i != 1).address); };
    const AdamW o = adamwOf(numbers + t / 4 * kAdamWNumbers);
    tensors.push_back({at(0), at(1), at(2), at(3), n, total, {o.gradScale, o.beta1, o.beta2, o.oneLessBeta2, o.decay, o.rootScale, o.epsilon, o.stepSize}});
    total += blocks(n, kPerBlock);
  }
  if (tensors.empty()) return;
  launch(adamwKernel, {total}, 256, 0, call.sent(tensors.data(), int64_t(tensors.size() * sizeof(AdamWTensor))), int(tensors.size()));
}

/** sgd(param, grad, momentum, gradScale, lr, momentumFactor, weightDecay, nesterov, step): momentum -1 for none. */
GRAFT_CUDA(sgd) {
  const int64_t n = call.count(0);
  const Pointer grad = call.f32(1, n), param = call.outF32(0, n), momentum = call.none(2) ? Pointer() : call.outF32(2, n);
  const SgdStep o = {float(call.number(3)), float(call.number(4)), float(call.number(5)), float(call.number(6)), int(call.flag(7)), int(call.number(8) == 1)};
  launch(sgdKernel, {blocks(n, 256)}, 256, 0, param, grad, momentum, o, Index(n));
}

/** sumOfSquares(handles, y) */
GRAFT_CUDA(sumOfSquares) {
  std::vector<Squared> tensors;
  int64_t total = 0;
  for (const int64_t handle : call.ints(0)) {
    Buffer& b = graft::buffer(int32_t(handle));
    if (b.storage != Storage::F32) fail("sumOfSquares: a tensor is not float32");
    if (b.count == 0) continue;
    tensors.push_back({Index(toDevice(b, false).address), b.count, total});
    total += blocks(b.count, kPerBlock);
  }
  const Pointer y = call.outF32(1, 1), parts = call.temporary(std::max<int64_t>(1, total) * 8);
  if (total > 0) launch(squaresKernel, {total}, 256, 0, call.sent(tensors.data(), int64_t(tensors.size() * sizeof(Squared))), int(tensors.size()), parts);
  launch(totalKernel, {1}, 1024, 0, parts, Index(total), y);
}
