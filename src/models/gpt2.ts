import { residual, tf, type Tensor } from '@graft/kernels';
import { assemble } from './assemble.js';
import { activationOf, count, dropoutRate, layerCount, real } from './config.js';
import { decoderHeads, decoderNames } from './decoder-heads.js';
import type { Forward } from './forward.js';
import type { Batch, Features, Model, Reads, TextBatch } from './model.js';
import { Modules, tableRows, type Headers } from './modules.js';
import { atEnd, overSequence, type Sequence } from './sequence.js';
import { joinHeads, positions, splitHeads, through } from './transformer.js';

/** GPT-2 (Radford et al., 2019): a causal decoder with LayerNorm before each sub-layer; its dense weights are stored [in, out]. */
export default function gpt2(checkpoint: Headers): Model {
  const m = new Modules(checkpoint);
  const names = decoderNames(checkpoint, 'transformer.', 'wte.weight', true), { prefix } = names;
  const [d, layers, heads] = [count(checkpoint, 'n_embd'), layerCount(checkpoint, 'n_layer'), count(checkpoint, 'n_head')];
  const epsilon = real(checkpoint, 'layer_norm_epsilon', 1e-5);
  const places = tableRows(checkpoint, `${prefix}wpe.weight`, 'n_positions');
  const rows = tableRows(checkpoint, `${prefix}wte.weight`, 'vocab_size');
  const word = m.embedding(`${prefix}wte`, 'embed', [rows, d]);
  const enter = m.tokens(d);
  const position = m.embedding(`${prefix}wpe`, 'position', [places, d]);
  const drop = m.dropout(`${prefix}drop`, dropoutRate(checkpoint, 'embd_pdrop', 0.1));
  const shape: Shape = {
    d, heads, inner: count(checkpoint, 'n_inner', 4 * d), epsilon, activation: activationOf(checkpoint, 'activation_function', 'gelu_new'),
    dropout: dropoutRate(checkpoint, 'resid_pdrop', 0.1), attentionDropout: dropoutRate(checkpoint, 'attn_pdrop', 0.1),
  };
  const blocks = Array.from({ length: layers }, (_, i) => gpt2Layer(m, i, `${prefix}h.${i}`, shape));
  m.layer = layers;
  const norm = m.norm(`${prefix}ln_f`, 'layer', d, epsilon);

  const embed = (f: Forward, { ids, mask }: TextBatch) => {
    const tokens = enter(f, { x: word(f, ids), mask, prompts: 0 });
    return { ...tokens, x: drop(f, tf.add(tokens.x, position(f, positions(f, tokens.x, places)))) };
  };
  const backbone = (f: Forward, batch: Batch, reads?: Reads): Features => {
    const tokens = f.stem(() => embed(f, batch as TextBatch));
    return overSequence(f, batch as TextBatch, tokens, atEnd(reads), (x, sequence, last) => norm(f, through(blocks, x, (block, h, isLast) => block(f, h, isLast ? last : sequence))));
  };
  return assemble(checkpoint, m, {
    input: 'text', hiddenSize: d, layers, maxLength: places, defaultTargets: ['c_attn'], backbone,
    ...decoderHeads(checkpoint, m, { d, rows, names, std: real(checkpoint, 'initializer_range', 0.02), tagger: 'classifier' }),
  });
}

interface Shape { d: number; heads: number; inner: number; epsilon: number; activation: ReturnType<typeof activationOf>; dropout: number; attentionDropout: number }

function gpt2Layer(m: Modules, i: number, at: string, { d, heads, inner, epsilon, activation, dropout, attentionDropout }: Shape) {
  const block = m.block(i, at, [d, d]);
  const norm1 = m.norm(`${at}.ln_1`, 'layer', d, epsilon);
  const qkv = m.linear(`${at}.attn.c_attn`, 'qkv', [d, 3 * d], { transposed: true });
  const attention = m.attention(`${at}.attn`, d, { heads, kvHeads: heads, headDim: d / heads, dropout: attentionDropout });
  const project = m.linear(`${at}.attn.c_proj`, 'output', [d, d], { transposed: true });
  const attend = m.output('attention.output', `${at}.attn`, d, { dropout });
  const norm2 = m.norm(`${at}.ln_2`, 'layer', d, epsilon);
  const up = m.linear(`${at}.mlp.c_fc`, 'up', [d, inner], { transposed: true });
  const down = m.linear(`${at}.mlp.c_proj`, 'down', [inner, d], { transposed: true });
  const feed = m.output('ffn.output', `${at}.mlp`, d, { dropout });
  const scale = 1 / Math.sqrt(d / heads);

  return (f: Forward, x: Tensor, { keys, read }: Sequence): Tensor => block(f, x, (x) => {
    const stream = read(x), normed = norm1(f, x), y = read(normed);
    const attended = attend(f, y, (z) => {
      const [own, k, v] = tf.split(qkv(f, y === normed ? z : normed), 3, -1);
      const [q, ...kv] = [read(own), k, v].map((t) => splitHeads(t, heads));
      return project(f, joinHeads(attention(f, z, { q, k: kv[0], v: kv[1], ...keys, causal: true, scale })));
    }, { stream });
    const h = residual(attended, stream);
    let mid: Tensor;
    const fed = feed(f, norm2(f, h), (z) => down(f, (mid = up(f, z, activation))), { stream: h, mid: () => mid });
    return residual(fed, h);
  });
}
