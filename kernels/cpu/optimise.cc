#include "optimise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core.h"

static constexpr int64_t kGrain = 16384;

namespace graft {

AdamW adamwOf(const double* f) {
  const double lr = f[1], beta1 = f[2], beta2 = f[3], step = f[6];
  return {float(f[0]), float(beta1), float(beta2), float(1 - beta2), float(1 - lr * f[5]), float(1 / std::sqrt(1 - std::pow(beta2, step))), float(f[4]),
          float(lr / (1 - std::pow(beta1, step)))};
}

const double* adamwNumbers(const Args& args, size_t tensors) {
  int64_t bytes = 0;
  const auto* numbers = static_cast<const double*>(args.typedArray(1, bytes));
  if (bytes != int64_t(tensors) * kAdamWNumbers * 8) fail("adamw: %lld bytes of numbers for %zu tensors", static_cast<long long>(bytes), tensors);
  return numbers;
}

}  // namespace graft

/** adamw(handles, numbers): for each tensor the handles of param, grad, m, v, and in a Float64Array gradScale, lr, beta1, beta2, epsilon, weightDecay, step. */
GRAFT_EXPORT(adamw) {
  using namespace graft;
  const std::vector<Buffer*> buffers = args.buffers(0);
  if (buffers.size() % 4) fail("adamw: four buffers a tensor, not %zu in all", buffers.size());
  const double* numbers = adamwNumbers(args, buffers.size() / 4);
  for (size_t t = 0; t < buffers.size(); t += 4) {
    Scratch scratch;
    const int64_t n = buffers[t]->count;
    float* own[3];
    for (int i = 0; i < 3; i++) {
      const Buffer& b = *buffers[t + size_t(i ? i + 1 : 0)];
      if (b.frozen() || b.storage != Storage::F32 || b.count != n) fail("adamw: tensor %zu is not writable float32 of %lld elements throughout", t / 4, static_cast<long long>(n));
      own[i] = static_cast<float*>(b.data);
    }
    if (buffers[t + 1]->count != n) fail("adamw: the gradient of tensor %zu has another size", t / 4);
    const float* grad = f32(*buffers[t + 1], scratch);
    const AdamW o = adamwOf(numbers + t / 4 * kAdamWNumbers);
    parallelFor(n, kGrain, [&](int64_t i, int64_t end) { adamwLoop(own[0] + i, grad + i, own[1] + i, own[2] + i, end - i, o); });
  }
}

/** sgd(param, grad, momentum, gradScale, lr, momentumFactor, weightDecay, nesterov, step): momentum -1 for none. */
GRAFT_EXPORT(sgd) {
  graft::Scratch scratch;
  const int64_t n = args.count(0);
  float *param = args.outF32(0, n), *momentum = args.none(2) ? nullptr : args.outF32(2, n);
  const float* grad = args.f32(1, scratch, n);
  const graft::Sgd o = {float(args.number(3)), float(args.number(4)), float(args.number(5)), float(args.number(6)), args.flag(7), args.number(8) == 1};
  graft::parallelFor(n, kGrain, [&](int64_t i, int64_t end) { graft::sgdLoop(param + i, grad + i, momentum ? momentum + i : nullptr, end - i, o); });
}

/** sumOfSquares(handles, y): y [1] = Σ x² over all tensors, in double precision between blocks: the same for any number of threads. */
GRAFT_EXPORT(sumOfSquares) {
  using namespace graft;
  constexpr int64_t block = 1 << 16;
  struct Piece { const float* x; int64_t n; };
  Scratch scratch;
  std::vector<Piece> pieces;
  for (const Buffer* b : args.buffers(0)) {
    const float* x = f32(*b, scratch);
    for (int64_t i = 0; i < b->count; i += block) pieces.push_back({x + i, std::min(block, b->count - i)});
  }
  std::vector<double> parts(pieces.size());
  parallelFor(int64_t(pieces.size()), 1, [&](int64_t begin, int64_t end) {
    for (size_t i = size_t(begin); i < size_t(end); i++) parts[i] = squares(pieces[i].x, pieces[i].n);
  });
  double total = 0;
  for (const double part : parts) total += part;
  args.outF32(1, 1)[0] = float(total);
}

/** copyFloats(x, y): y = x, whatever float storage x has. */
GRAFT_EXPORT(copyFloats) {
  graft::Scratch scratch;
  const int64_t n = args.count(0);
  const float* x = args.f32(0, scratch);
  float* y = args.outF32(1, n);
  if (n) std::memcpy(y, x, size_t(n) * 4);
}
