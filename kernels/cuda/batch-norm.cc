#include <algorithm>

#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel applyKernel("batch-norm", "batchNormApply"), sumsKernel("batch-norm", "columnSums"), productsKernel("batch-norm", "columnProducts"),
    meansKernel("batch-norm", "columnMeans"), gradientKernel("batch-norm", "batchNormTrainGradient");

namespace {

/** Partial sums down the columns of [rows, C], by chunks of rows. */
struct Chunks {
  int64_t rows, C, chunks, perChunk;
  Pointer partial;
  Chunks(Call& call, int64_t rows, int64_t C)
      : rows(rows), C(C), chunks(std::max<int64_t>(1, std::min<int64_t>({128, rows / 64, 1024 / std::max<int64_t>(1, blocks(C, 32))}))), perChunk(blocks(rows, chunks)),
        partial(call.temporary(chunks * C * 8)) {}
  Grid grid() const { return {blocks(C, 32), chunks}; }
  void sum(Pointer x, Pointer shift, int squares) const { launch(sumsKernel, grid(), 256, 0, x, shift, partial, squares, Index(rows), Index(C), Index(perChunk)); }
  void finish(Pointer base, Pointer y, double scale) const { launch(meansKernel, {blocks(C, 256)}, 256, 0, partial, base, y, Index(chunks), scale, Index(C)); }
};

}  // namespace

/** batchNormApply(x, mean | null, variance, gamma | null, beta | null, y, epsilon) */
GRAFT_CUDA(batchNormApply) {
  const int64_t n = call.count(0), C = call.count(2), rows = C ? n / C : 0;
  const Pointer x = call.f32(0, rows * C), mean = call.f32OrNull(1, C), variance = call.f32(2), gamma = call.f32OrNull(3, C), beta = call.f32OrNull(4, C), y = call.outF32(5, n);
  launch(applyKernel, {blocks(n, 256)}, 256, 0, x, mean, variance, gamma, beta, y, call.number(6), Index(C), Index(n));
}

/** batchNormStatistics(x, mean, variance): first sums about the first row, then squares about the mean. */
GRAFT_CUDA(batchNormStatistics) {
  const int64_t C = call.count(1), rows = C ? call.count(0) / C : 0;
  const Pointer x = call.f32(0, rows * C), mean = call.outF32(1, C), variance = call.outF32(2, C);
  if (C > 0 && rows == 0) fail("batch normalisation: statistics of no rows");
  const Chunks chunks(call, rows, C);
  chunks.sum(x, x, 0);
  chunks.finish(x, mean, 1 / double(rows));
  chunks.sum(x, mean, 1);
  chunks.finish({}, variance, 1 / double(rows));
}

/** batchNormSums(x, dy, mean, sum, products) */
GRAFT_CUDA(batchNormSums) {
  const int64_t C = call.count(2), rows = C ? call.count(0) / C : 0;
  const Pointer x = call.f32(0, rows * C), dy = call.f32(1, rows * C), mean = call.f32(2), sum = call.outF32(3, C), products = call.outF32(4, C);
  const Chunks chunks(call, rows, C);
  chunks.sum(dy, {}, 0);
  chunks.finish({}, sum, 1);
  launch(productsKernel, chunks.grid(), 256, 0, x, dy, mean, chunks.partial, Index(rows), Index(C), Index(chunks.perChunk));
  chunks.finish({}, products, 1);
}

/** batchNormTrainGradient(x, dy, mean, variance, gamma, sum, products, dMean, dVariance, dx, epsilon) */
GRAFT_CUDA(batchNormTrainGradient) {
  const int64_t C = call.count(2), rows = C ? call.count(0) / C : 0;
  const Pointer x = call.f32(0, rows * C), dy = call.f32(1, rows * C);
  Pointer v[7];
  for (int i = 0; i < 7; i++) v[i] = call.f32(2 + i, C);
  launch(gradientKernel, {blocks(rows * C, 256)}, 256, 0, x, dy, v[0], v[1], v[2], v[3], v[4], v[5], v[6], call.outF32(9, rows * C), call.number(10), Index(rows), Index(C));
}
