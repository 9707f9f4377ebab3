#include "attention.h"

#include <algorithm>

#include "attention-geometry.h"

namespace graft {
namespace {

using Geometry = AttentionGeometry;

struct Operands {
  const float *q, *k, *v;
  float* bias = nullptr;               // [B, Tk]
  std::vector<int64_t> firstSure;      // [B]
};

/** q, k, v, mask | null from argument 0 on. */
Operands operands(const Args& args, const Geometry& g, Scratch& scratch) {
  Operands o{args.f32(0, scratch, g.queries()), args.f32(1, scratch, g.keys()), args.f32(2, scratch, g.keys()), nullptr, {}};
  for (int64_t b = 0; b < g.B; b++) o.firstSure.push_back(std::max<int64_t>(0, g.length(b) - g.keysOf(b)));
  if (args.none(3)) return o;
  const float* mask = args.f32(3, scratch, elements({g.B, g.Tk}));
  o.bias = scratch.floats(g.B * g.Tk);
  for (int64_t b = 0; b < g.B; b++) {
    int64_t visible = g.Tk;
    for (int64_t j = g.Tk - 1; j >= 0; j--) {
      o.bias[b * g.Tk + j] = (1 - mask[b * g.Tk + j]) * kMasked;
      if (mask[b * g.Tk + j] == 1) visible = j;
    }
    o.firstSure[size_t(b)] = std::max<int64_t>(0, visible + g.Tq - g.Tk);
  }
  return o;
}

/** Where head h of row b begins in q, and its keys in k. */
int64_t atQuery(const Geometry& g, int64_t b, int64_t h) { return (g.queriesBefore(b) * g.H + h) * g.width; }
int64_t atKey(const Geometry& g, int64_t b, int64_t h) { return (g.keysBefore(b) * g.Hkv + h * g.Hkv / g.H) * g.width; }

AttentionHead head(const Geometry& g, const Operands& o, int64_t b, int64_t h) {
  AttentionHead out;
  out.q = o.q + atQuery(g, b, h);
  out.k = o.k + atKey(g, b, h);
  out.v = o.v + atKey(g, b, h);
  out.qStep = g.H * g.width;
  out.kStep = g.Hkv * g.width;
  out.Tq = g.length(b);
  out.Tk = g.keysOf(b);
  out.width = g.width;
  out.scale = g.scale;
  out.keyBias = o.bias ? o.bias + b * g.Tk : nullptr;
  out.causal = g.causal != 0;
  out.firstSure = o.firstSure[size_t(b)];
  out.drop = g.drop;
  out.drop.firstRow = uint32_t(g.firstRow(b, h));
  return out;
}

/** The operands of a head, and of those after it that share its keys, `heads` in all. */
Ahead aheadOf(const AttentionHead& h, int64_t heads) {
  Ahead out;
  out.add(h.k, h.kStep, h.Tk, h.width, false);
  out.add(h.v, h.kStep, h.Tk, h.width, false);
  out.add(h.q, h.qStep, h.Tq, heads * h.width, false);
  return out;
}

}  // namespace
}  // namespace graft

/** attentionForward(q, k, v, mask | null, out, stats, geometry, scale, keep); stats: [B, H, Tq, 2], or text by text [H, length, 2]. */
GRAFT_EXPORT(attentionForward) {
  using namespace graft;
  Scratch scratch;
  const Geometry g(args, 6);
  const Operands o = operands(args, g, scratch);
  float *out = args.outF32(4, g.queries()), *stats = args.outF32(5, elements({g.rows(), 2}));
  // Few heads are cut into parts, each of which copies the keys again.
  const int64_t heads = std::max<int64_t>(1, g.B * g.H), parts = (4 * threadCount() + heads - 1) / heads, step = parts * kQueryBlock;
  const int64_t rows = parts == 1 ? std::max<int64_t>(1, g.Tq) : std::max<int64_t>(1, (g.Tq + step - 1) / step) * kQueryBlock;
  const int64_t blocks = (g.Tq + rows - 1) / rows;
  parallelFor(g.B * g.H * blocks, 1, [&](int64_t begin, int64_t end) {
    Scratch own;
    float* space = own.floats(attentionScratch(g.Tk, g.width, false));
    for (int64_t job = begin; job < end; job++) {
      const int64_t b = job / blocks / g.H, h = job / blocks % g.H, i = job % blocks * rows;
      if (i >= g.length(b)) continue;
      Ahead ahead;
      if (blocks == 1 && job + 1 < end) {
        const AttentionHead next = head(g, o, (job + 1) / g.H, (job + 1) % g.H);
        ahead = aheadOf(next, 1);
        ahead.add(out + (next.q - o.q), next.qStep, next.Tq, next.width, true);
      }
      attentionForward(head(g, o, b, h), i, std::min(g.length(b), i + rows), ahead, space, out + atQuery(g, b, h), stats + g.firstRow(b, h) * 2);
    }
  });
}

/** attentionGradient(q, k, v, mask | null, out, stats, dOut, dq, dk, dv, geometry, scale, keep) */
GRAFT_EXPORT(attentionGradient) {
  using namespace graft;
  Scratch scratch;
  const Geometry g(args, 10);
  const Operands o = operands(args, g, scratch);
  const float *out = args.f32(4, scratch, g.queries()), *stats = args.f32(5, scratch, elements({g.rows(), 2})), *dOut = args.f32(6, scratch, g.queries());
  float *dq = args.outF32(7, g.queries()), *dk = args.outF32(8, g.keys()), *dv = args.outF32(9, g.keys());
  const int64_t shared = g.H / g.Hkv;
  parallelFor(g.B * g.Hkv, 1, [&](int64_t begin, int64_t end) {
    Scratch own;
    float* space = own.floats(attentionScratch(g.Tk, g.width, true));
    for (int64_t job = begin; job < end; job++) {
      const int64_t b = job / g.Hkv, h = job % g.Hkv * shared, atQ = atQuery(g, b, h), atK = atKey(g, b, h);
      Ahead ahead;
      if (job + 1 < end) {
        const AttentionHead next = head(g, o, (job + 1) / g.Hkv, (job + 1) % g.Hkv * shared);
        const int64_t q = next.q - o.q, k = next.k - o.k, width = shared * g.width;
        ahead = aheadOf(next, shared);
        for (const float* like : {out, dOut}) ahead.add(like + q, next.qStep, next.Tq, width, false);
        ahead.add(dq + q, next.qStep, next.Tq, width, true);
        for (const float* like : {dk, dv}) ahead.add(like + k, next.kStep, next.Tk, g.width, true);
      }
      attentionGradient(head(g, o, b, h), shared, out + atQ, dOut + atQ, stats + g.firstRow(b, h) * 2, ahead, space, dq + atQ, dk + atK, dv + atK);
    }
  });
}
