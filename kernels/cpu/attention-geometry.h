// The numbers that attention's exports take, checked.
#pragma once

#include <vector>

#include "attention.h"
#include "core.h"

namespace graft {

/**
 * From argument `at` on: integers (B, Tq, H, width, Tk, Hkv, causal, of dropout both keys and the bound, the number of starts,
 * those of the keys, those of the queries, filled), scale, keep. With starts, B + 1 of each kind, text b is rows [starts[b], starts[b + 1])
 * of k and of q, at most Tk and Tq of them, of queries perhaps none. With filled, B of them, only so many of a row's Tk keys are there; the
 * rest is room.
 */
struct AttentionGeometry {
  int64_t B, Tq, H, width, Tk, Hkv, causal;
  float scale;
  Dropped drop;
  std::vector<int64_t> starts, queryStarts, filled;

  AttentionGeometry(const Args& args, int at) : scale(float(args.number(at + 1))) {
    const std::vector<int64_t> v = args.ints(at);
    if (v.size() < 11 || v[10] < 0 || size_t(v[10]) > (v.size() - 11) / 2) fail("attention: %zu numbers of geometry", v.size());
    B = v[0], Tq = v[1], H = v[2], width = v[3], Tk = v[4], Hkv = v[5], causal = v[6];
    drop = {0, uint32_t(v[7]), uint32_t(v[8]), uint32_t(v[9]), float(args.number(at + 2))};
    if (Hkv < 1 || H < 0 || H % Hkv || Tk < 1) fail("attention: %lld heads over %lld key heads of %lld keys", static_cast<long long>(H), static_cast<long long>(Hkv), static_cast<long long>(Tk));
    const auto first = v.begin() + 11, second = first + v[10];
    starts.assign(first, second);
    queryStarts.assign(second, second + v[10]);
    filled.assign(second + v[10], v.end());
    bool fits = starts.empty() || (int64_t(starts.size()) == B + 1 && starts[0] == 0 && queryStarts[0] == 0);
    for (size_t b = 1; fits && b < starts.size(); b++) {
      const int64_t queries = queryStarts[b] - queryStarts[b - 1], keys = starts[b] - starts[b - 1];
      fits = keys > 0 && keys <= Tk && queries >= 0 && queries <= Tq && queries <= keys;
    }
    if (!fits) fail("attention: the starts of %lld texts are wrong", static_cast<long long>(B));
    bool room = filled.empty() || (int64_t(filled.size()) == B && starts.empty());
    for (const int64_t n : filled) room = room && n >= 1 && n <= Tk;
    if (!room) fail("attention: the filled keys of %lld rows are wrong", static_cast<long long>(B));
  }
  /** Queries of text b, and the queries and keys before it. */
  int64_t length(int64_t b) const { return starts.empty() ? Tq : queryStarts[size_t(b) + 1] - queryStarts[size_t(b)]; }
  int64_t keysOf(int64_t b) const { return !filled.empty() ? filled[size_t(b)] : starts.empty() ? Tk : starts[size_t(b) + 1] - starts[size_t(b)]; }
  int64_t queriesBefore(int64_t b) const { return starts.empty() ? b * Tq : queryStarts[size_t(b)]; }
  int64_t keysBefore(int64_t b) const { return starts.empty() ? b * Tk : starts[size_t(b)]; }
  /** The first of a head's rows among those of all heads, text by text. */
  int64_t firstRow(int64_t b, int64_t h) const { return queriesBefore(b) * H + h * length(b); }
  int64_t rows() const { return elements({starts.empty() ? elements({B, Tq}) : queryStarts.back(), H}); }
  int64_t queries() const { return elements({rows(), width}); }
  int64_t keys() const { return elements({starts.empty() ? elements({B, Tk}) : starts.back(), Hkv, width}); }
};

}  // namespace graft
