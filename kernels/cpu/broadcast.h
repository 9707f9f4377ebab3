// Two operands of different shapes read as one.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "core.h"

namespace graft {

/** Two operands broadcast to one shape; axes that both walk alike are merged, axes of size 1 left out. */
struct Broadcast {
  std::vector<int64_t> size, stepA, stepB;
  int64_t count = 1;

  Broadcast(std::vector<int64_t> a, std::vector<int64_t> b) {
    elements(a), elements(b);
    const size_t rank = std::max(a.size(), b.size());
    a.insert(a.begin(), rank - a.size(), 1);
    b.insert(b.begin(), rank - b.size(), 1);
    int64_t nextA = 1, nextB = 1;
    for (size_t i = rank; i-- > 0;) {
      const int64_t n = a[i] == 1 ? b[i] : a[i];
      if (b[i] != 1 && b[i] != n) fail("sizes %lld and %lld of one axis", static_cast<long long>(a[i]), static_cast<long long>(b[i]));
      const int64_t sa = a[i] == 1 ? 0 : nextA, sb = b[i] == 1 ? 0 : nextB;
      nextA *= a[i];
      nextB *= b[i];
      count *= n;
      if (n == 1) continue;
      if (!size.empty() && sa == stepA.back() * size.back() && sb == stepB.back() * size.back()) size.back() *= n;
      else size.push_back(n), stepA.push_back(sa), stepB.push_back(sb);
    }
    if (size.empty()) size.push_back(1), stepA.push_back(1), stepB.push_back(1);
  }

  /** Where row `row` of size[0] elements begins in a and in b. */
  std::pair<int64_t, int64_t> offsets(int64_t row) const {
    int64_t a = 0, b = 0;
    for (size_t i = 1; i < size.size(); i++) {
      a += row % size[i] * stepA[i];
      b += row % size[i] * stepB[i];
      row /= size[i];
    }
    return {a, b};
  }
};

}  // namespace graft
