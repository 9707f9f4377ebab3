#include "attention.h"

#include <algorithm>

#include "../cpu/attention-geometry.h"
#include "blas.h"

using namespace graft;
using namespace graft::cuda;

static Kernel keyBias("attention", "keyBias"), dots("attention-gradient", "attentionDots"), fillKernel("convert", "fill");
/** The kernels of one part for heads of at most 32, 64, 128 and 256, in single precision and in bf16. */
struct Kernels {
  Kernel of[2][4];
  Kernel& at(bool bf16, int size) { return of[bf16][size]; }
};
#define GRAFT_SIZES(file, name) {{file, name "32"}, {file, name "64"}, {file, name "128"}, {file, name "256"}}
static Kernels forwards = {{GRAFT_SIZES("attention", "attention"), GRAFT_SIZES("attention-bf16", "attentionBf16")}};
static Kernels queries = {{GRAFT_SIZES("attention-gradient", "attentionQueries"), GRAFT_SIZES("attention-gradient-bf16", "attentionQueriesBf16")}};
static Kernels keys = {{GRAFT_SIZES("attention-gradient", "attentionKeys"), GRAFT_SIZES("attention-gradient-bf16", "attentionKeysBf16")}};

namespace {

struct Given {
  Pointer q, k, v, bias, texts;
  Heads heads;
  bool bf16 = precision() == Precision::Bf16;
  int size;                       // of the tiles
  int64_t mostQueries, mostKeys;  // of a text

  Given(Call& call, const AttentionGeometry& g) {
    if (g.width > 256) fail("attention: heads of %lld are wider than 256", static_cast<long long>(g.width));
    if (g.B > 65535 || g.H > 65535) fail("attention: %lld texts of %lld heads are too many", static_cast<long long>(g.B), static_cast<long long>(g.H));
    q = call.f32(0, g.queries()), k = call.f32(1, g.keys()), v = call.f32(2, g.keys());
    std::vector<Text> all;
    for (int64_t b = 0; b < g.B; b++)
      all.push_back({g.queriesBefore(b), g.keysBefore(b), int(g.length(b)), int(g.keysOf(b)), int(std::max<int64_t>(0, g.length(b) - g.keysOf(b))), 0});
    texts = call.sent(all.data(), int64_t(all.size() * sizeof(Text)));
    if (!call.none(3)) {
      const Pointer mask = call.f32(3, elements({g.B, g.Tk}));
      bias = call.floats(g.B * g.Tk);
      launch(keyBias, {g.B}, 256, 0, mask, bias, texts, int(g.Tk));
    }
    heads = {int(g.H), int(g.Hkv), int(g.width), int(g.causal != 0), g.scale, g.drop.keep, g.drop.key0, g.drop.key1, g.drop.below, int(g.Tk)};
    size = g.width <= 32 ? 0 : g.width <= 64 ? 1 : g.width <= 128 ? 2 : 3;
    mostQueries = g.Tq, mostKeys = g.Tk;
  }
};

/** Shared memory of `own` and `passing` tiles of a block. */
unsigned sharedBytes(const AttentionTile& t, bool bf16, int own, int passing) {
  const int bytes = bf16 ? 2 : 4;
  return unsigned((own * t.warps * 16 + passing * t.rows) * rowLength(t.width, bytes) * bytes);
}

}  // namespace

/** attentionForward(q, k, v, mask | null, out, stats, geometry, scale, keep) */
GRAFT_CUDA(attentionForward) {
  const AttentionGeometry g(call, 6);
  const Given o(call, g);
  const Pointer out = call.outF32(4, g.queries()), stats = call.outF32(5, elements({g.rows(), 2}));
  const AttentionTile t = (o.bf16 ? kForwardTilesBf16 : kForwardTiles)[o.size];
  if (g.queries() == 0) return;
  launch(forwards.at(o.bf16, o.size), {blocks(o.mostQueries, t.warps * 16), g.H, g.B}, unsigned(t.warps * 32), sharedBytes(t, o.bf16, 1, 2), o.q, o.k, o.v, o.bias, out, stats, o.texts, o.heads);
}

/** attentionGradient(q, k, v, mask | null, out, stats, dOut, dq, dk, dv, geometry, scale, keep) */
GRAFT_CUDA(attentionGradient) {
  const AttentionGeometry g(call, 10);
  const Given o(call, g);
  const Pointer out = call.f32(4, g.queries()), stats = call.f32(5, elements({g.rows(), 2})), dOut = call.f32(6, g.queries());
  const Pointer dq = call.outF32(7, g.queries()), dk = call.outF32(8, g.keys()), dv = call.outF32(9, g.keys()), d = call.floats(g.rows());
  const AttentionTile t = (o.bf16 ? kGradientTilesBf16 : kGradientTiles)[o.size];
  if (!g.filled.empty())
    for (const Pointer p : {dk, dv}) launch(fillKernel, {blocks(g.keys(), 256)}, 256, 0, p, int(kF32), 0.0, Index(g.keys()));
  launch(dots, {blocks(o.mostQueries, 8), g.H, g.B}, 256, 0, out, dOut, d, o.texts, o.heads);
  launch(queries.at(o.bf16, o.size), {blocks(o.mostQueries, t.warps * 16), g.H, g.B}, unsigned(t.warps * 32), sharedBytes(t, o.bf16, 2, 2), o.q, o.k, o.v, o.bias, stats, d, dOut, dq, o.texts, o.heads);
  launch(keys.at(o.bf16, o.size), {blocks(o.mostKeys, t.warps * 16), g.Hkv, g.B}, unsigned(t.warps * 32), sharedBytes(t, o.bf16, 2, 2), o.q, o.k, o.v, o.bias, stats, d, dOut, dk, dv, o.texts, o.heads);
}
