#include "gemm.h"

#include <algorithm>
#include <cstring>

#include "core.h"

namespace graft {

static constexpr int64_t KC = 384, NC = 4096;

/** C = A B with element strides (row, column) for both operands. */
static void gemm(const void* a, Storage sa, int64_t ars, int64_t acs, const void* b, Storage sb, int64_t brs, int64_t bcs,
                 int64_t m, int64_t n, int64_t k, float* c) {
  if (k == 0) std::memset(c, 0, size_t(m * n) * 4);
  int mr, nr;
  gemmTile(&mr, &nr);
  const int64_t mc = std::max<int64_t>(mr, std::min<int64_t>(12 * mr, (m / threadCount() + mr - 1) / mr * mr));
  for (int64_t j = 0; j < n; j += NC)
    for (int64_t p = 0; p < k; p += KC) {
      const int64_t cols = std::min(NC, n - j), depth = std::min(KC, k - p);
      Scratch scratch;
      float* pb = scratch.floats((cols + nr - 1) / nr * nr * depth);
      const char* fromB = static_cast<const char*>(b) + (p * brs + j * bcs) * sizeOf(sb);
      parallelFor(cols, nr * 4, [&](int64_t begin, int64_t end) {
        gemmPack(fromB + begin * bcs * sizeOf(sb), int(sb), bcs, brs, end - begin, depth, nr, pb + begin * depth);
      });
      parallelFor(m, mc, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i += mc) {
          const int64_t rows = std::min(mc, end - i);
          Scratch own;
          float* pa = own.floats((rows + mr - 1) / mr * mr * depth);
          gemmPack(static_cast<const char*>(a) + (i * ars + p * acs) * sizeOf(sa), int(sa), ars, acs, rows, depth, mr, pa);
          gemmBlock(pa, pb, rows, cols, depth, c + i * n + j, n, p > 0);
        }
      });
    }
}

}  // namespace graft

/** batchMatMul(a, b, out, m, n, k, transposeA, transposeB, offsets): offsets lists (a, b) matrix numbers per output matrix. */
GRAFT_EXPORT(batchMatMul) {
  using namespace graft;
  const Buffer &a = args.buffer(0), &b = args.buffer(1);
  const int64_t m = args.integer(3), n = args.integer(4), k = args.integer(5);
  const bool ta = args.flag(6), tb = args.flag(7);
  const auto pairs = args.ints(8);
  float* c = args.outF32(2, int64_t(pairs.size() / 2) * m * n);
  for (const Buffer* x : {&a, &b})
    if (x->storage == Storage::I32 || x->storage == Storage::BOOL) fail("batchMatMul: operands must be floats");
  for (size_t i = 0; i + 1 < pairs.size(); i += 2) {
    if (pairs[i] < 0 || (pairs[i] + 1) * m * k > a.count || pairs[i + 1] < 0 || (pairs[i + 1] + 1) * k * n > b.count)
      fail("batchMatMul: matrix %lld is beyond its operand", static_cast<long long>(i / 2));
    gemm(static_cast<char*>(a.data) + pairs[i] * m * k * sizeOf(a.storage), a.storage, ta ? 1 : k, ta ? m : 1,
         static_cast<char*>(b.data) + pairs[i + 1] * k * n * sizeOf(b.storage), b.storage, tb ? 1 : n, tb ? k : 1, m, n, k,
         c + int64_t(i / 2) * m * n);
  }
}
