#include "coded.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "convert.h"
#include "decode.h"

namespace graft {
namespace {

Codes wanted = Codes::None;

/** Rows that are made codes of at a time. */
constexpr int64_t kRows = 16;

/**
 * The signed dynamic data type of 8 bits (Dettmers, 2016), ascending: for each power of ten from -6 to 0 the middles of 2^i equal parts of
 * [0.1, 1], i counting the powers, with both signs; and 0 and 1.
 */
const std::vector<float>& dynamic() {
  static const std::vector<float> values = [] {
    std::vector<float> v = {0, 1};
    for (int i = 0; i < 7; i++) {
      const int parts = 1 << i;
      for (int p = 0; p < parts; p++) {
        const double middle = 0.1 + 0.9 * (p + 0.5) / parts, value = middle * std::pow(10, i - 6);
        v.push_back(float(value)), v.push_back(float(-value));
      }
    }
    std::sort(v.begin(), v.end());
    return v;
  }();
  return values;
}

/** The nearest of ascending values. */
int nearest(const float* values, int n, float x) {
  const int above = int(std::lower_bound(values, values + n, x) - values);
  if (above == 0) return 0;
  if (above == n) return n - 1;
  return x - values[above - 1] <= values[above] - x ? above - 1 : above;
}

float largest(const float* x, int64_t n) {
  float most = 0;
  for (int64_t i = 0; i < n; i++) most = std::max(most, std::fabs(x[i]));
  return most;
}

/** f(first, values, count) for parts of x, which begin at multiples of `unit`. */
template <class F>
void inParts(const Buffer& x, int64_t unit, F f) {
  const int64_t n = x.count, step = kRows * unit;
  parallelFor((n + step - 1) / step, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    float* values = scratch.floats(step);
    for (int64_t part = begin; part < end; part++) {
      const int64_t first = part * step, count = std::min(step, n - first);
      toFloat(x, first, count, values);
      f(first, values, count);
    }
  });
}

void makeInt8(const Buffer& x, Coded& c) {
  c.codes.resize(size_t(x.count));
  c.scales.resize(size_t(c.rows));
  inParts(x, c.columns, [&](int64_t first, const float* values, int64_t count) {
    for (int64_t at = 0; at < count; at += c.columns) {
      const float most = largest(values + at, c.columns), times = most > 0 ? 127 / most : 0;
      c.scales[size_t((first + at) / c.columns)] = most / 127;
      for (int64_t i = at; i < at + c.columns; i++) c.codes[size_t(first + i)] = uint8_t(int8_t(std::lrintf(values[i] * times)));
    }
  });
}

void makeNf4(const Buffer& x, Coded& c) {
  const int64_t blocks = (x.count + kCodedBlock - 1) / kCodedBlock;
  c.codes.resize(size_t((x.count + 1) / 2));
  std::vector<float> most(static_cast<size_t>(blocks));
  inParts(x, 64 * kCodedBlock, [&](int64_t first, const float* values, int64_t count) {
    for (int64_t at = 0; at < count; at += kCodedBlock) {
      const int64_t n = std::min<int64_t>(kCodedBlock, count - at);
      const float top = most[size_t((first + at) / kCodedBlock)] = largest(values + at, n), times = top > 0 ? 1 / top : 0;
      for (int64_t i = at; i < at + n; i += 2) {
        const int high = nearest(kNf4, 16, values[i] * times), low = i + 1 < at + n ? nearest(kNf4, 16, values[i + 1] * times) : 0;
        c.codes[size_t((first + i) / 2)] = uint8_t(high << 4 | low);
      }
    }
  });
  c.mean = float(std::accumulate(most.begin(), most.end(), 0.0) / double(std::max<int64_t>(1, blocks)));
  for (float& m : most) m -= c.mean;
  c.shares.resize(size_t(blocks));
  for (int64_t first = 0; first < blocks; first += kCodedScales) {
    const int64_t n = std::min<int64_t>(kCodedScales, blocks - first);
    const float top = largest(&most[size_t(first)], n), times = top > 0 ? 1 / top : 0;
    c.scales.push_back(top);
    for (int64_t i = first; i < first + n; i++) c.shares[size_t(i)] = uint8_t(nearest(dynamic().data(), 256, most[size_t(i)] * times));
  }
}

/** What the codes of a block are multiplied by. */
float scaleOf(const Coded& c, int64_t block) { return dynamicShares()[c.shares[size_t(block)]] * c.scales[size_t(block / kCodedScales)] + c.mean; }

}  // namespace

Coded::~Coded() { counters().packed -= bytes(); }

void Coded::forget() {
  counters().packed -= bytes();
  codes = {}, shares = {}, scales = {};
}

const float* dynamicShares() { return dynamic().data(); }

Coded* coded(Buffer& b, int64_t rows, int64_t columns) {
  if (wanted == Codes::None || !b.frozen() || rows * columns != b.count) return nullptr;
  if (b.coded && b.coded->kind == wanted && b.coded->columns == columns) return b.coded.get();
  auto c = std::make_shared<Coded>();
  c->kind = wanted, c->rows = rows, c->columns = columns;
  (wanted == Codes::Int8 ? makeInt8 : makeNf4)(b, *c);
  counters().packed += c->bytes();
  forgetPages(b);
  b.coded = c;
  return b.coded.get();
}

void decode(const Coded& c, int64_t row, int64_t column, int64_t count, float* out) {
  const int64_t first = row * c.columns + column;
  if (c.kind == Codes::Int8) return decodeInt8(reinterpret_cast<const int8_t*>(c.codes.data()) + first, count, c.scales[size_t(row)], out);
  for (int64_t i = first; i < first + count;) {
    const int64_t block = i / kCodedBlock, n = std::min(first + count, (block + 1) * kCodedBlock) - i;
    decodeNf4(c.codes.data(), i, n, scaleOf(c, block), out);
    i += n, out += n;
  }
}

}  // namespace graft

using namespace graft;

/** codeWeights(code of Codes): how frozen weights of products are kept from here on. */
GRAFT_EXPORT(codeWeights) {
  const int64_t code = args.integer(0);
  if (code < 0 || code > 2) fail("codeWeights: 0 to 2");
  wanted = Codes(code);
}

/** decodeWeight(weight, out, rows, columns): the values of its codes. */
GRAFT_EXPORT(decodeWeight) {
  const int64_t rows = args.integer(2), columns = args.integer(3);
  const Coded* c = coded(graft::buffer(args.handle(0)), rows, columns);
  if (!c) fail("decodeWeight: it is not coded");
  float* out = args.outF32(1, elements({rows, columns}));
  for (int64_t row = 0; row < rows; row++) decode(*c, row, 0, columns, out + row * columns);
}
