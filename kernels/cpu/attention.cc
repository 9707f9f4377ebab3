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
      o.bias[b * g.Tk + j] = (1 - mask[b * g.Tk + j]) * -1e9f;
      if (mask[b * g.Tk + j] == 1) visible = j;
    }
    o.firstSure[size_t(b)] = std::max<int64_t>(0, visible + g.Tq - g.Tk);
  }
  return o;
}

AttentionHead head(const Geometry& g, const Operands& o, int64_t b, int64_t h) {
  const int64_t kv = h * g.Hkv / g.H * g.width;
  AttentionHead out;
  out.q = o.q + g.queriesBefore(b) * g.H * g.width + h * g.width;
  out.k = o.k + g.keysBefore(b) * g.Hkv * g.width + kv;
  out.v = o.v + g.keysBefore(b) * g.Hkv * g.width + kv;
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

}  // namespace
}  // namespace graft

/** attentionForward(q, k, v, mask | null, out, stats, geometry, scale, keep); stats: [B, H, Tq, 2], or text by text [H, length, 2]. */
GRAFT_EXPORT(attentionForward) {
  using namespace graft;
  Scratch scratch;
  const Geometry g(args, 6);
  const Operands o = operands(args, g, scratch);
  float *out = args.outF32(4, g.queries()), *stats = args.outF32(5, elements({g.rows(), 2}));
  const int64_t blocks = g.B * g.H >= 4 * threadCount() ? 1 : (g.Tq + kQueryBlock - 1) / kQueryBlock;
  const int64_t rows = blocks == 1 ? g.Tq : kQueryBlock;
  parallelFor(g.B * g.H * blocks, 1, [&](int64_t begin, int64_t end) {
    Scratch own;
    float* space = own.floats(attentionScratch(g.Tk, g.width, false));
    for (int64_t job = begin; job < end; job++) {
      const int64_t b = job / blocks / g.H, h = job / blocks % g.H, i = job % blocks * rows;
      if (i >= g.length(b)) continue;
      attentionForward(head(g, o, b, h), i, std::min(g.length(b), i + rows), space, out + g.queriesBefore(b) * g.H * g.width + h * g.width,
                       stats + g.firstRow(b, h) * 2);
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
      const int64_t b = job / g.Hkv, kv = job % g.Hkv, h = kv * shared;
      const int64_t atQ = (g.queriesBefore(b) * g.H + h) * g.width, atK = (g.keysBefore(b) * g.Hkv + kv) * g.width;
      attentionGradient(head(g, o, b, h), shared, out + atQ, dOut + atQ, stats + g.firstRow(b, h) * 2, space, dq + atQ, dk + atK, dv + atK);
    }
  });
}
