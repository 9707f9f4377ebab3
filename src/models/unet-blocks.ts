import { activate, tf, type Tensor, type Tensor2D } from '@graft/kernels';
import type { Forward } from './forward.js';
import type { Modules } from './modules.js';
import { joinHeads, splitHeads } from './transformer.js';

/** What the blocks of a UNet have in common. */
export interface Widths {
  groups: number;
  epsilon: number;
  /** Of the embedding of the time. */
  embedded: number;
  /** Of the conditions. */
  cross: number;
  /** Transformers are entered and left through dense layers rather than 1×1 convolutions. */
  linear: boolean;
  dropout: number;
}

/** Embeddings of the condition [B, T, cross], and which of them are there [B, T]; null in an unconditional network. */
export type Context = { x: Tensor; mask: Tensor2D | null } | null;

type Block = (f: Forward, x: Tensor, temb: Tensor, context: Context) => Tensor;

/** diffusers' ResnetBlock2D: two convolutions after normalisation and SiLU, the time added between. x: [B, H, W, from]; temb: SiLU of the time's embedding. */
export function resnetBlock(m: Modules, layer: number, at: string, [from, to]: readonly [number, number], { groups, epsilon, embedded, dropout }: Widths): Block {
  const block = m.block(layer, at, [from, to]);
  const norm1 = m.norm(`${at}.norm1`, 'group', from, epsilon, 'norm', groups), conv1 = m.conv(`${at}.conv1`, 'conv', [from, to], 3, 1, 1, true);
  const time = m.linear(`${at}.time_emb_proj`, 'time', [embedded, to]);
  const norm2 = m.norm(`${at}.norm2`, 'group', to, epsilon, 'norm', groups), drop = m.dropout(`${at}.dropout`, dropout), conv2 = m.conv(`${at}.conv2`, 'conv', [to, to], 3, 1, 1, true);
  const shortcut = from === to ? null : m.conv(`${at}.conv_shortcut`, 'conv', [from, to], 1, 1, 0, true);
  return (f, x, temb) => block(f, x, (x) => {
    const h = tf.add(conv1(f, activate(norm1(f, x), 'silu')), tf.reshape(time(f, temb), [-1, 1, 1, to]));
    const y = conv2(f, drop(f, activate(norm2(f, h), 'silu')));
    return tf.add(shortcut ? shortcut(f, x) : x, y);
  });
}

/** diffusers' Transformer2DModel of one layer: self-attention over the pixels, cross-attention to the condition, and a gated feed-forward part. */
export function spatialTransformer(m: Modules, layer: number, at: string, d: number, heads: number, { groups, cross, linear, dropout }: Widths): Block {
  const block = m.block(layer, at, [d, d]), inner = `${at}.transformer_blocks.0`;
  const project = (name: string) => (linear ? m.linear(name, 'project', [d, d]) : m.conv(name, 'project', [d, d], 1, 1, 0, true));
  const norm = m.norm(`${at}.norm`, 'group', d, 1e-6, 'norm', groups), enter = project(`${at}.proj_in`);
  const norm1 = m.norm(`${inner}.norm1`, 'layer', d, 1e-5), self = attend(m, `${inner}.attn1`, d, d, heads, dropout);
  const norm2 = m.norm(`${inner}.norm2`, 'layer', d, 1e-5), other = attend(m, `${inner}.attn2`, d, cross, heads, dropout);
  const norm3 = m.norm(`${inner}.norm3`, 'layer', d, 1e-5);
  const up = m.linear(`${inner}.ff.net.0.proj`, 'up', [d, 8 * d]), drop = m.dropout(`${inner}.ff.net.1`, dropout), down = m.linear(`${inner}.ff.net.2`, 'down', [4 * d, d]);
  const feed = m.output('ffn.output', `${inner}.ff`, d);
  const leave = project(`${at}.proj_out`);
  return (f, x, _, context) => block(f, x, (x) => {
    const [B, H, W] = x.shape as number[], flat = (t: Tensor): Tensor => tf.reshape(t, [B, H * W, d]);
    const entered = flat(linear ? enter(f, flat(norm(f, x))) : enter(f, norm(f, x)));
    const one = tf.add(self(f, norm1(f, entered), null, entered), entered);
    const two = tf.add(other(f, norm2(f, one), context, one), one);
    let mid: Tensor;
    const fed = feed(f, norm3(f, two), (z) => {
      const [value, gate] = tf.split(up(f, z), 2, 2);
      return down(f, drop(f, (mid = tf.mul(value, activate(gate, 'gelu')))));
    }, { stream: two, mid: () => mid });
    const h = tf.add(fed, two);
    return tf.add(tf.reshape(leave(f, linear ? h : tf.reshape(h, [B, H, W, d])), x.shape), x);
  });
}

/** Attention from x to itself or to the condition. */
function attend(m: Modules, at: string, d: number, from: number, heads: number, dropout: number) {
  const query = m.linear(`${at}.to_q`, 'query', [d, d], { biased: false });
  const [key, value] = (['key', 'value'] as const).map((role) => m.linear(`${at}.to_${role[0]}`, role, [from, d], { biased: false }));
  const attention = m.attention(at, d, { heads, kvHeads: heads, headDim: d / heads, dropout: 0 });
  const project = m.linear(`${at}.to_out.0`, 'output', [d, d]);
  const output = m.output('attention.output', at, d, { dropout });
  const scale = 1 / Math.sqrt(d / heads);
  return (f: Forward, x: Tensor, context: Context, stream: Tensor): Tensor => output(f, x, (z) => {
    const seen = context?.x ?? z;
    const [q, k, v] = [query(f, z), key(f, seen), value(f, seen)].map((t) => splitHeads(t, heads));
    return project(f, joinHeads(attention(f, z, { q, k, v, keyMask: context?.mask ?? null, causal: false, scale })));
  }, { stream });
}
