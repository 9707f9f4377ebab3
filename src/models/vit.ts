import { residual, tf, type Tensor } from '@graft/kernels';
import { assemble } from './assemble.js';
import { activationOf, count, dropoutRate, layerCount, real } from './config.js';
import type { Forward } from './forward.js';
import { dense, firstToken, outputs, type HeadLayouts } from './heads.js';
import { imageHeads } from './image-head.js';
import { MOST_SIDE, normalise, preprocessing } from './image.js';
import type { Batch, Features, ImageBatch, Model, Reads } from './model.js';
import { modulePrefix, Modules, type Headers } from './modules.js';
import { allMlp, readBlocks } from './segment-head.js';
import { overSequence, type Sequence } from './sequence.js';
import { features, joinHeads, splitHeads, through } from './transformer.js';

/** Vision Transformer (Dosovitskiy et al., 2021); modules as google/vit checkpoints name them. The head reads the class token. */
export default function vit(checkpoint: Headers): Model {
  const m = new Modules(checkpoint);
  const prefix = modulePrefix(checkpoint, 'vit.', 'embeddings.cls_token');
  const [d, layers, heads] = [count(checkpoint, 'hidden_size'), layerCount(checkpoint, 'num_hidden_layers'), count(checkpoint, 'num_attention_heads')];
  const [side, patch] = [count(checkpoint, 'image_size', 224, [1, MOST_SIDE]), count(checkpoint, 'patch_size', 16, [1, MOST_SIDE])];
  const epsilon = real(checkpoint, 'layer_norm_eps', 1e-12);
  const at = `${prefix}embeddings`;
  const given = preprocessing(checkpoint);
  const pixels = m.pixels();
  const patches = m.conv(`${at}.patch_embeddings.projection`, 'patch', [count(checkpoint, 'num_channels', 3), d], patch, patch, 0, true);
  const cls = m.parameter(`${at}.cls_token`, [1, 1, d]);
  const places = m.parameter(`${at}.position_embeddings`, [1, Math.floor(side / patch) ** 2 + 1, d]);
  const enter = m.tokens(d);
  const dropout = dropoutRate(checkpoint, 'hidden_dropout_prob', 0);
  const drop = m.dropout(`${at}.dropout`, dropout);
  const shape: Shape = {
    d, heads, inner: count(checkpoint, 'intermediate_size', 4 * d), epsilon, activation: activationOf(checkpoint, 'hidden_act', 'gelu'),
    dropout, attentionDropout: dropoutRate(checkpoint, 'attention_probs_dropout_prob', 0), biased: checkpoint.config.qkv_bias !== false,
  };
  const blocks = Array.from({ length: layers }, (_, i) => vitLayer(m, i, `${prefix}encoder.layer.${i}`, shape));
  m.layer = layers;
  const norm = m.norm(`${prefix}layernorm`, 'layer', d, epsilon);
  const classifier = m.headLinear('classifier', d);

  /** Prompts join after the position embeddings; as attention knows no order, before the class token is as good as after it. */
  const embed = (f: Forward, { pixels: images }: ImageBatch) => {
    const x = patches(f, normalise(pixels(f, images), given));
    const [B, h, w] = x.shape;
    const sequence = tf.concat([tf.tile(tf.reshape(cls(f), [1, 1, d]), [B, 1, 1]), tf.reshape(x, [B, h * w, d])], 1);
    return enter(f, { x: drop(f, tf.add(sequence, places(f))), mask: null, prompts: 0 });
  };
  const backbone = (f: Forward, batch: Batch, reads?: Reads): Features => {
    const tokens = f.stem(() => embed(f, batch as ImageBatch));
    const held: Tensor[] = [];
    const run = (x: Tensor, sequence: Sequence, last: Sequence): Tensor => norm(f, through(blocks, x, (block, h, isLast) => (held[held.length] = block(f, h, isLast ? last : sequence))));
    const all = overSequence(f, {}, tokens, reads, run);
    const stages = (): Tensor[] => readBlocks(layers).map((i) => patchesOf(i === layers - 1 ? all.hidden : features(held[i], tokens).hidden));
    return { ...all, stages, size: [side, side] };
  };
  const layout: HeadLayouts['classify'] = {
    tensors: (head) => dense('classifier', outputs(head), d, real(checkpoint, 'initializer_range', 0.02)),
    reads: 'first',
    logits: (f, { hidden }) => classifier(f, firstToken(hidden)),
  };
  const grid = Math.floor(side / patch);
  return assemble(checkpoint, m, {
    input: 'image', hiddenSize: d, layers, imageSize: [side, side], defaultTargets: ['query', 'value'], backbone,
    ...imageHeads({ heads: { classify: layout, regress: layout }, width: { classify: 'classifier.weight' } }, allMlp(m, checkpoint, [grid, grid], layers, d)),
  });
}

/** What stands at the patches: all but the class token. */
const patchesOf = (x: Tensor): Tensor => tf.slice(x, [0, 1, 0], [-1, -1, -1]);

interface Shape { d: number; heads: number; inner: number; epsilon: number; activation: ReturnType<typeof activationOf>; dropout: number; attentionDropout: number; biased: boolean }

function vitLayer(m: Modules, i: number, at: string, { d, heads, inner, epsilon, activation, dropout, attentionDropout, biased }: Shape) {
  const block = m.block(i, at, [d, d]);
  const norm1 = m.norm(`${at}.layernorm_before`, 'layer', d, epsilon);
  const query = m.linear(`${at}.attention.attention.query`, 'query', [d, d], { biased });
  const key = m.linear(`${at}.attention.attention.key`, 'key', [d, d], { biased });
  const value = m.linear(`${at}.attention.attention.value`, 'value', [d, d], { biased });
  const attention = m.attention(`${at}.attention.attention`, d, { heads, kvHeads: heads, headDim: d / heads, dropout: attentionDropout });
  const project = m.linear(`${at}.attention.output.dense`, 'output', [d, d]);
  const attend = m.output('attention.output', `${at}.attention.output`, d, { dropout });
  const norm2 = m.norm(`${at}.layernorm_after`, 'layer', d, epsilon);
  const up = m.linear(`${at}.intermediate.dense`, 'up', [d, inner]);
  const down = m.linear(`${at}.output.dense`, 'down', [inner, d]);
  const feed = m.output('ffn.output', `${at}.output`, d, { dropout });
  const scale = 1 / Math.sqrt(d / heads);

  return (f: Forward, x: Tensor, { keys, read }: Sequence): Tensor => block(f, x, (x) => {
    const stream = read(x), normed = norm1(f, x), y = read(normed);
    const attended = attend(f, y, (z) => {
      const all = y === normed ? z : normed;
      const [q, k, v] = [query(f, z), key(f, all), value(f, all)].map((t) => splitHeads(t, heads));
      return project(f, joinHeads(attention(f, z, { q, k, v, ...keys, causal: false, scale })));
    }, { stream });
    const h = residual(attended, stream);
    let mid: Tensor;
    const fed = feed(f, norm2(f, h), (z) => down(f, (mid = up(f, z, activation))), { stream: h, mid: () => mid });
    return residual(fed, h);
  });
}
