// Rows become columns: for *.isa.cc files.
#pragma once

#include "panels.h"

namespace graft {
namespace GRAFT_ISA {

/** out[p · width + i] = x[i · rs + p] for i < here, p < depth. */
static inline void transpose(const Unit* x, int64_t rs, int64_t here, int64_t depth, int64_t width, Unit* out) {
  typedef uint32_t v4 __attribute__((vector_size(16)));
  typedef int32_t vi4 __attribute__((vector_size(16)));
  int64_t i = 0;
  for (; i + 4 <= here; i += 4) {
    const Unit *r0 = x + i * rs, *r1 = r0 + rs, *r2 = r1 + rs, *r3 = r2 + rs;
    int64_t p = 0;
    for (; p + 4 <= depth; p += 4) {
      if (p % 16 == 0)  // the rows that come next
        for (int q = 4; q < 8; q++) __builtin_prefetch(r0 + q * rs + p);
      v4 a, b, c, d;
      __builtin_memcpy(&a, r0 + p, 16);
      __builtin_memcpy(&b, r1 + p, 16);
      __builtin_memcpy(&c, r2 + p, 16);
      __builtin_memcpy(&d, r3 + p, 16);
      const v4 ab = __builtin_shuffle(a, b, (vi4){0, 4, 1, 5}), cd = __builtin_shuffle(c, d, (vi4){0, 4, 1, 5});
      const v4 ab2 = __builtin_shuffle(a, b, (vi4){2, 6, 3, 7}), cd2 = __builtin_shuffle(c, d, (vi4){2, 6, 3, 7});
      const v4 rows[4] = {__builtin_shuffle(ab, cd, (vi4){0, 1, 4, 5}), __builtin_shuffle(ab, cd, (vi4){2, 3, 6, 7}),
                          __builtin_shuffle(ab2, cd2, (vi4){0, 1, 4, 5}), __builtin_shuffle(ab2, cd2, (vi4){2, 3, 6, 7})};
      for (int q = 0; q < 4; q++) __builtin_memcpy(out + (p + q) * width + i, &rows[q], 16);
    }
    for (; p < depth; p++) {
      Unit* to = out + p * width + i;
      to[0] = r0[p];
      to[1] = r1[p];
      to[2] = r2[p];
      to[3] = r3[p];
    }
  }
  for (; i < here; i++)
    for (int64_t p = 0; p < depth; p++) out[p * width + i] = x[i * rs + p];
}

}  // namespace GRAFT_ISA
}  // namespace graft
