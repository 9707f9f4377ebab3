#include "../cpu/softmax.h"

#include "graph.h"
#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel softmaxKernel("softmax", "softmax"), gradient("softmax", "softmaxGrad"), loss("softmax", "crossEntropy"), lossGradient("softmax", "crossEntropyGrad");

static unsigned threadsFor(int64_t n) { return n <= 64 ? 32 : n <= 512 ? 128 : n <= 4096 ? 256 : 512; }

static void forward(Call& call, int logarithm) {
  const int64_t n = call.integer(2), count = call.count(0), rows = rowCount(count, n);
  const Pointer x = call.f32(0), y = call.outF32(1, count);
  launch(softmaxKernel, {rows}, threadsFor(n), 0, x, y, Index(n), logarithm);
}

static void backward(Call& call, int logarithm) {
  const int64_t n = call.integer(3), count = call.count(0), rows = rowCount(count, n);
  const Pointer dy = call.f32(0), y = call.f32(1, count), dx = call.outF32(2, count);
  launch(gradient, {rows}, threadsFor(n), 0, dy, y, dx, Index(n), logarithm);
}

GRAFT_CUDA(softmax) { forward(call, 0); }
GRAFT_CUDA(logSoftmax) { forward(call, 1); }
GRAFT_CUDA(softmaxGrad) { backward(call, 0); }
GRAFT_CUDA(logSoftmaxGrad) { backward(call, 1); }

/** crossEntropy(logits, labels, loss, log Z, classes, ignored, ε) */
GRAFT_CUDA(crossEntropy) {
  const int64_t rows = call.count(1), n = call.integer(4);
  const int ignored = int(call.integer(5));
  const Pointer x = call.f32(0, elements({rows, n})), labels = call.i32(1), out = call.outF32(2, rows), logZ = call.outF32(3, rows);
  if (!recording()) checkLabels(call.hostI32(1), rows, n, ignored);  // what is recorded runs on other labels
  launch(loss, {rows}, threadsFor(n), 0, x, labels, out, logZ, Index(n), ignored, float(call.number(6)));
}

/** crossEntropyGrad(dy, logits, labels, log Z, gradient, classes, ignored, ε); the labels were looked at on the way forward. */
GRAFT_CUDA(crossEntropyGrad) {
  const int64_t rows = call.count(2), n = call.integer(5), count = elements({rows, n});
  const Pointer dy = call.f32(0, rows), x = call.f32(1, count), labels = call.i32(2), logZ = call.f32(3, rows), dx = call.outF32(4, count);
  launch(lossGradient, {blocks(count, 256)}, 256, 0, dy, x, labels, logZ, dx, Index(n), int(call.integer(6)), float(call.number(7)), Index(count));
}
