#include "gemm.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "coded.h"
#include "elementwise.h"
#include "few-rows.h"
#include "panels.h"
#include "thin.h"

namespace graft {

// A block of A stays in the second-level cache.
static constexpr int64_t kColumns = 4096, kRowPanels = 15;

static int64_t up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

static int64_t unitsOf(bool half, int64_t depth) { return half ? (depth + 1) / 2 : depth; }
/** Elements in kDepth units. */
static int64_t depthOf(bool half) { return half ? 2 * kDepth : kDepth; }

static const char* at(const Operand& x, int64_t i, int64_t j) {
  return static_cast<const char*>(x.data) + (i * x.rowStride + j * x.columnStride) * sizeOf(x.storage);
}

/** Packs rows [p, p + depth) of columns [j, j + cols) of a coded matrix, whose values are made as they are packed. */
static void packCoded(bool half, const Operand& b, int64_t p, int64_t depth, int64_t j, int64_t cols, int nr, Unit* out) {
  const bool byColumns = b.rowStride == 1;
  parallelFor(cols, nr * 4, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    float* values = scratch.floats(nr * 4 * depth);
    for (int64_t from = begin; from < end; from += nr * 4) {
      const int64_t n = std::min<int64_t>(nr * 4, end - from);
      if (byColumns) for (int64_t c = 0; c < n; c++) decode(*b.coded, j + from + c, p, depth, values + c * depth);
      else for (int64_t q = 0; q < depth; q++) {
        prefetch(*b.coded, p + q + 16, j + from);
        decode(*b.coded, p + q, j + from, n, values + q * n);
      }
      gemmPack(half, values, int(Storage::F32), byColumns ? depth : 1, byColumns ? 1 : n, n, depth, nr, out + from * unitsOf(half, depth));
    }
  });
}

/** Packs rows [p, p + depth) of columns [j, j + cols). */
static void packColumns(bool half, const Operand& b, int64_t p, int64_t depth, int64_t j, int64_t cols, int nr, Unit* out) {
  if (b.coded) return packCoded(half, b, p, depth, j, cols, nr, out);
  parallelFor(cols, nr * 4, [&](int64_t begin, int64_t end) {
    gemmPack(half, at(b, p, j + begin), int(b.storage), b.columnStride, b.rowStride, end - begin, depth, nr, out + begin * unitsOf(half, depth));
  });
}

int64_t packedBytes(bool half, int64_t n, int64_t k) {
  int mr, nr;
  gemmTile(&mr, &nr);
  return up(n, nr) * unitsOf(half, k) * int64_t(sizeof(Unit));
}

void packWhole(bool half, const Operand& b, int64_t n, int64_t k, void* out) {
  int mr, nr;
  gemmTile(&mr, &nr);
  const int64_t step = depthOf(half);
  for (int64_t p = 0; p < k; p += step)
    packColumns(half, b, p, std::min(step, k - p), 0, n, nr, static_cast<Unit*>(out) + unitsOf(half, p) * up(n, nr));
}

/** How C is cut into tasks, as many for every thread: along the rows, and along the columns too where rows alone do not keep the threads busy. */
struct Cut {
  int64_t m, mr, tiles, down, cols, across;
  Cut(int64_t m, int64_t n, int mr, int nr) : m(m), mr(mr), tiles((m + mr - 1) / mr) {
    const int64_t wanted = 4 * threadCount();
    // Blocks of few tiles would pack A too often for what they compute.
    down = std::max((tiles + kRowPanels - 1) / kRowPanels, std::min(wanted, tiles / 4));
    down = down > wanted ? up(down, wanted) : down > 1 ? up(down, threadCount()) : 1;
    const int64_t parts = std::min((wanted + down - 1) / down, std::max<int64_t>(1, n / (4 * nr)));
    cols = threadCount() == 1 ? n : up((n + parts - 1) / parts, nr);
    across = (n + cols - 1) / cols;
  }
  /** The first row of a task. */
  int64_t top(int64_t task) const { return std::min(m, tiles * task / down * mr); }
};

static void activateRows(int op, const float* z, float* y, int64_t rows, int64_t cols, int64_t stride) {
  for (int64_t r = 0; r < rows; r++) unaryLoop(op, z + r * stride, y + r * stride, cols, 0, 0);
}

/** C without its activation, in c or, where that is to be kept, in `before`. */
static void depthBlock(bool half, const Operand& a, const Unit* pb, int64_t p, int64_t depth, bool last, int64_t j, int64_t cols, int64_t m, int64_t n,
                       float* c, const Epilogue& e) {
  int mr, nr;
  gemmTile(&mr, &nr);
  const Arithmetic arithmetic = !half ? Arithmetic::floats : hasBf16() ? Arithmetic::pairsAtOnce : Arithmetic::pairs;
  const int64_t units = unitsOf(half, depth);
  const Cut cut(m, cols, mr, nr);
  float* raw = e.before ? e.before : c;
  const float* add = p == 0 ? e.add : raw;
  parallelFor(cut.down * cut.across, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t i = cut.top(task / cut.across), left = task % cut.across * cut.cols;
      const int64_t rows = cut.top(task / cut.across + 1) - i, width = std::min(cut.cols, cols - left), to = i * n + j + left;
      Scratch own;
      Unit* pa = static_cast<Unit*>(own.bytes(up(rows, mr) * units * int64_t(sizeof(Unit))));
      gemmPack(half, at(a, i, p), int(a.storage), a.rowStride, a.columnStride, rows, depth, mr, pa);
      gemmBlock(arithmetic, pa, pb + left * units, rows, width, units, raw + to, n, e.alpha, add ? add + to : nullptr,
                last && e.bias ? e.bias + j + left : nullptr);
      if (last && e.activation >= 0) activateRows(e.activation, raw + to, c + to, rows, width, n);
    }
  });
}

/** Whether A B can be had without packing B, and is cheaper so. */
static bool hasFewRows(const Operand& a, const Operand& b, int64_t m) {
  return m <= kFewRows && a.storage == Storage::F32 && a.columnStride == 1 && (b.rowStride == 1 || b.columnStride == 1);
}

static void fewRows(const Operand& a, const Operand& b, int64_t m, int64_t n, int64_t k, float* c, const Epilogue& e) {
  float* raw = e.before ? e.before : c;
  const FewRows x{static_cast<const float*>(a.data), a.rowStride, m, k, b.data, int(b.storage), raw, n, e.alpha, e.add, e.bias};
  const bool byColumns = b.rowStride == 1 && b.columnStride == k;
  parallelFor(n, up(32768 / std::max<int64_t>(1, k) + 1, 64), [&](int64_t begin, int64_t end) {
    (byColumns ? rowsByColumns : rowsByRows)(x, begin, end);
    for (int64_t i = 0; e.activation >= 0 && i < m; i++) unaryLoop(e.activation, raw + i * n + begin, c + i * n + begin, end - begin, 0, 0);
  });
}

/** Rows of A as they lie, and B of at most kThin columns packed. */
static void fewColumns(const Operand& a, const Operand& b, int64_t m, int64_t n, int64_t k, float* c, const Epilogue& e) {
  int mr, nr;
  gemmTile(&mr, &nr);
  Scratch scratch;
  const int64_t width = up(n, nr);
  float* panel = scratch.floats(width * k);
  gemmPack(false, b.data, int(b.storage), b.columnStride, b.rowStride, n, k, int(width), reinterpret_cast<Unit*>(panel));
  const Thin x{static_cast<const float*>(a.data), a.rowStride, 1, panel, width, k, c, n, 1, e.alpha, e.add, e.bias, 0, 1};
  parallelFor(m, 4 * mr, [&](int64_t begin, int64_t end) { thin(x, begin, end, 0, n); });
}

/** At most kThin rows of A, or a small product, and B as it lies. */
static void thinRows(const Operand& a, const Operand& b, int64_t m, int64_t n, int64_t k, float* c, const Epilogue& e) {
  const Thin x{static_cast<const float*>(a.data), a.rowStride, a.columnStride, static_cast<const float*>(b.data), b.rowStride, k, c, n, 1, e.alpha, e.add, e.bias, 0, 1};
  parallelFor(n, n > 64 ? 64 : 32, [&](int64_t begin, int64_t end) { thin(x, 0, m, begin, end); });
}

/** The same the other way round: Cᵀ = Bᵀ Aᵀ, of at most kThin columns of B, where A is stored transposed. */
static void thinColumns(const Operand& a, const Operand& b, int64_t m, int64_t n, int64_t k, float* c, const Epilogue& e) {
  const Thin x{static_cast<const float*>(b.data), b.columnStride, b.rowStride, static_cast<const float*>(a.data), a.columnStride, k, c, 1, n, e.alpha, e.add, e.bias, 1, 0};
  parallelFor(m, 64, [&](int64_t begin, int64_t end) { thin(x, 0, n, begin, end); });
}

/** A as it lies; the columns of B are packed a panel at a time by whoever multiplies them. */
static void byPanels(const Operand& a, const Operand& b, int64_t m, int64_t n, int64_t k, float* c, const Epilogue& e) {
  int mr, nr;
  gemmTile(&mr, &nr);
  parallelFor(n, nr, [&](int64_t begin, int64_t end) {
    Scratch own;
    float* panel = own.floats(nr * k);
    for (int64_t j = begin; j < end; j += nr) {
      const int64_t cols = std::min<int64_t>(nr, end - j);
      gemmPack(false, at(b, 0, j), int(b.storage), b.columnStride, b.rowStride, cols, k, nr, reinterpret_cast<Unit*>(panel));
      const Thin x{static_cast<const float*>(a.data), a.rowStride, a.columnStride, panel, nr, k, c + j, n, 1, e.alpha, e.add ? e.add + j : nullptr, e.bias ? e.bias + j : nullptr, 0, 1};
      thin(x, 0, m, 0, cols);
    }
  });
}

/** Multiplications in all that take less time than packing both operands. */
static constexpr int64_t kSmall = 256 * 256 * 256;

/** How a product is computed that has few rows or columns, or is small, and is deep enough for it to matter; null for all others. */
static auto thinWay(const Operand& a, const Operand& b, int64_t m, int64_t n, int64_t k, const Epilogue& e) -> decltype(&thinRows) {
  constexpr int64_t kWhole = 64;  // what is read in place comes in whole vectors
  if (e.half || a.storage != Storage::F32 || b.storage != Storage::F32 || e.activation >= 0 || e.before || k < 64) return nullptr;
  const bool small = m * n * k <= kSmall;
  if (n <= kThin && m > 2 * kThin && a.columnStride == 1) return fewColumns;
  if ((m <= kThin || small) && b.columnStride == 1 && n % kWhole == 0) return thinRows;
  if (n <= kThin && a.rowStride == 1 && m % kWhole == 0) return thinColumns;
  if (small && m > kThin && n > kThin) return byPanels;
  return nullptr;
}

void gemm(const Operand& a, const Operand& b, const void* packed, int64_t m, int64_t n, int64_t k, float* c, const Epilogue& e) {
  if (!e.half && !b.coded && hasFewRows(a, b, m)) return fewRows(a, b, m, n, k, c, e);
  if (const auto way = packed || b.coded ? nullptr : thinWay(a, b, m, n, k, e)) return way(a, b, m, n, k, c, e);
  int mr, nr;
  gemmTile(&mr, &nr);
  const int64_t columns = packed ? std::max<int64_t>(n, 1) : kColumns, step = depthOf(e.half);
  for (int64_t j = 0; j < n; j += columns)
    for (int64_t p = 0; p == 0 || p < k; p += step) {
      const int64_t cols = std::min(columns, n - j), depth = std::min(step, k - p);
      Scratch scratch;
      const Unit* pb = packed ? static_cast<const Unit*>(packed) + unitsOf(e.half, p) * up(n, nr) : nullptr;
      if (!pb) {
        Unit* own = static_cast<Unit*>(scratch.bytes(packedBytes(e.half, cols, depth)));
        packColumns(e.half, b, p, depth, j, cols, nr, own);
        pb = own;
      }
      depthBlock(e.half, a, pb, p, depth, p + depth == k, j, cols, m, n, c, e);
    }
}

static void needFloats(const Buffer& x) {
  if (x.storage == Storage::I32 || x.storage == Storage::BOOL) fail("matrix product: operands must be floats");
}

static Operand operand(const Buffer& x, int64_t matrix, int64_t rows, int64_t cols, bool transposed) {
  needFloats(x);
  if (matrix < 0 || elements({matrix + 1, rows, cols}) > x.count) fail("matrix product: matrix %lld is beyond its operand", static_cast<long long>(matrix));
  return {static_cast<char*>(x.data) + matrix * rows * cols * sizeOf(x.storage), x.storage, transposed ? 1 : cols, transposed ? rows : 1, nullptr};
}

}  // namespace graft

/** batchMatMul(a, b, out, m, n, k, transposeA, transposeB, offsets): offsets lists (a, b) matrix numbers per output matrix. */
GRAFT_EXPORT(batchMatMul) {
  using namespace graft;
  const Buffer &a = args.input(0), &b = args.input(1);
  const int64_t m = args.integer(3), n = args.integer(4), k = args.integer(5);
  const bool ta = args.flag(6), tb = args.flag(7);
  const auto pairs = args.ints(8);
  if (pairs.size() % 2) fail("matrix product: pairs of matrices");
  const int64_t count = int64_t(pairs.size() / 2);
  float* c = args.outF32(2, elements({count, m, n}));
  std::vector<std::pair<Operand, Operand>> operands;
  for (int64_t i = 0; i < count; i++)
    operands.emplace_back(operand(a, pairs[size_t(2 * i)], m, k, ta), operand(b, pairs[size_t(2 * i + 1)], k, n, tb));
  // Many small products: one thread each. Few large ones: all threads on each.
  const bool apart = count >= 2 * threadCount();
  const auto some = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) gemm(operands[size_t(i)].first, operands[size_t(i)].second, nullptr, m, n, k, c + i * m * n);
  };
  if (apart) parallelFor(count, 1, some);
  else some(0, count);
}

namespace graft {

/** B of a frozen buffer packed once and kept, while all such copies fit a quarter of the machine's memory; else null. */
static const void* keptPacked(Buffer& x, const Operand& b, bool half, bool transposed, int64_t n, int64_t k) {
  if (!x.frozen()) return nullptr;
  PackedOperand& kept = x.packed[half][transposed];
  if (kept.memory && kept.columns != n) return nullptr;  // the same memory under another shape
  if (!kept.memory) {
    static const int64_t most = int64_t(sysconf(_SC_PHYS_PAGES)) / 4 * sysconf(_SC_PAGESIZE);
    const int64_t bytes = (packedBytes(half, n, k) + 63) & ~int64_t(63);
    if (counters().packed + bytes > most) return nullptr;
    void* memory = std::aligned_alloc(64, size_t(std::max<int64_t>(bytes, 64)));
    if (!memory) return nullptr;
    packWhole(half, b, n, k, memory);
    forgetPages(x);
    counters().packed += bytes;
    kept = {std::shared_ptr<void>(memory, [bytes](void* p) {
      std::free(p);
      counters().packed -= bytes;
    }), n};
  }
  return kept.memory.get();
}

/** Whether products with frozen operands round both to bf16. */
static bool halfProducts = false;

}  // namespace graft

/** halfProducts(yes): from here on, `product` with a frozen b multiplies in bf16 and adds up in floats. */
GRAFT_EXPORT(halfProducts) { graft::halfProducts = args.flag(0); }

/**
 * product(a, b, out, m, n, k, transposeA, transposeB, alpha, add, bias, activation, before, coded): see Epilogue; -1 for what is absent.
 * `coded`: a frozen b is taken as codes, where weights are (coded.h).
 */
GRAFT_EXPORT(product) {
  using namespace graft;
  const int64_t m = args.integer(3), n = args.integer(4), k = args.integer(5);
  elements({m, n, k});
  const bool ta = args.flag(6), tb = args.flag(7);
  const Operand a = operand(args.input(0), 0, m, k, ta);
  Operand b = operand(args.input(1), 0, k, n, tb);
  if (args.flag(13)) b.coded = coded(args.buffer(1), tb ? n : k, tb ? k : n);
  Scratch scratch;
  Epilogue e;
  e.alpha = float(args.number(8));
  if (!args.none(9)) e.add = args.f32(9, scratch, m * n);
  if (!args.none(10)) e.bias = args.f32(10, scratch, n);
  e.activation = int(args.integer(11));
  if (!args.none(12)) e.before = args.outF32(12, m * n);
  e.half = halfProducts && args.buffer(1).frozen();
  const void* packed = b.coded || (!e.half && hasFewRows(a, b, m)) ? nullptr : keptPacked(args.buffer(1), b, e.half, tb, n, k);
  gemm(a, b, packed, m, n, k, args.outF32(2, m * n), e);
}
