import { residual, rotary, tf, type Tensor } from '@graft/kernels';
import { dataError } from '../errors.js';
import { assemble } from './assemble.js';
import { activationOf, count, dropoutRate, layerCount, real } from './config.js';
import { decoderHeads, decoderNames } from './decoder-heads.js';
import type { Forward } from './forward.js';
import type { Batch, Features, Model, Reads, TextBatch } from './model.js';
import { Modules, tableRows, type Headers } from './modules.js';
import { rope, type Rotation } from './rope.js';
import { atEnd, overSequence, type Sequence } from './sequence.js';
import { joinHeads, splitHeads, through } from './transformer.js';

/** Llama (Touvron et al., 2023), Mistral and Qwen2: RMSNorm, rotary positions, grouped-query attention, gated feed-forward. */
export default function llama(checkpoint: Headers): Model {
  const m = new Modules(checkpoint);
  const names = decoderNames(checkpoint, 'model.', 'embed_tokens.weight', false), { prefix } = names;
  const [d, layers, heads] = [count(checkpoint, 'hidden_size'), layerCount(checkpoint, 'num_hidden_layers'), count(checkpoint, 'num_attention_heads')];
  const shape: Shape = {
    d, heads, kvHeads: count(checkpoint, 'num_key_value_heads', heads), headDim: count(checkpoint, 'head_dim', d / heads),
    inner: count(checkpoint, 'intermediate_size'), epsilon: real(checkpoint, 'rms_norm_eps', 1e-6), activation: activationOf(checkpoint, 'hidden_act', 'silu'),
    dropout: dropoutRate(checkpoint, 'attention_dropout', 0), biases: biases(checkpoint),
  };
  const maxLength = count(checkpoint, 'max_position_embeddings', 2048);
  const window = slidingWindow(checkpoint);
  const angles = rope(checkpoint, shape.headDim);
  const rows = tableRows(checkpoint, `${prefix}embed_tokens.weight`, 'vocab_size');
  const word = m.embedding(`${prefix}embed_tokens`, 'embed', [rows, d]);
  const enter = m.tokens(d);
  const blocks = Array.from({ length: layers }, (_, i) => llamaLayer(m, i, `${prefix}layers.${i}`, shape));
  m.layer = layers;
  const norm = m.norm(`${prefix}norm`, 'rms', d, shape.epsilon);

  const backbone = (f: Forward, batch: Batch, reads?: Reads): Features => {
    const { ids, mask } = batch as TextBatch;
    const tokens = f.stem(() => enter(f, { x: word(f, ids), mask, prompts: 0 }));
    return overSequence(f, batch as TextBatch, tokens, atEnd(reads), (x, sequence, last) => {
      const { positions, atPositions } = sequence;
      const length = positions.at(-1)! + 1;
      if (length > window) throw dataError(`${length} tokens exceed the model's sliding window of ${window}; give a smaller --max-length`);
      const { cos, sin } = angles(positions);
      const rotation = { cos: atPositions(cos), sin: atPositions(sin) };
      return norm(f, through(blocks, x, (block, h, isLast) => block(f, h, isLast ? last : sequence, rotation)));
    });
  };
  return assemble(checkpoint, m, {
    input: 'text', hiddenSize: d, layers, maxLength: Math.min(maxLength, window), defaultTargets: ['q_proj', 'v_proj'], backbone,
    ...decoderHeads(checkpoint, m, { d, rows, names, std: real(checkpoint, 'initializer_range', 0.02), tagger: 'score' }),
  });
}

/** Mistral's attention sees so many tokens back; up to that length it is plain causal attention, which is what graft computes. */
function slidingWindow({ config }: Headers): number {
  const off = config.use_sliding_window === false || typeof config.sliding_window !== 'number';
  return off ? Infinity : (config.sliding_window as number);
}

/** Which dense layers of a new model have a bias. */
function biases({ config }: Headers): { qkv: boolean; output: boolean; ffn: boolean } {
  const output = config.attention_bias === true;
  return { qkv: output || config.model_type === 'qwen2', output, ffn: config.mlp_bias === true };
}

interface Shape { d: number; heads: number; kvHeads: number; headDim: number; inner: number; epsilon: number; activation: ReturnType<typeof activationOf>; dropout: number; biases: ReturnType<typeof biases> }

function llamaLayer(m: Modules, i: number, at: string, { d, heads, kvHeads, headDim, inner, epsilon, activation, dropout, biases }: Shape) {
  const block = m.block(i, at, [d, d]);
  const norm1 = m.norm(`${at}.input_layernorm`, 'rms', d, epsilon);
  const query = m.linear(`${at}.self_attn.q_proj`, 'query', [d, heads * headDim], { biased: biases.qkv });
  const key = m.linear(`${at}.self_attn.k_proj`, 'key', [d, kvHeads * headDim], { biased: biases.qkv });
  const value = m.linear(`${at}.self_attn.v_proj`, 'value', [d, kvHeads * headDim], { biased: biases.qkv });
  const attention = m.attention(`${at}.self_attn`, d, { heads, kvHeads, headDim, dropout });
  const project = m.linear(`${at}.self_attn.o_proj`, 'output', [heads * headDim, d], { biased: biases.output });
  const attend = m.output('attention.output', `${at}.self_attn`, d);
  const norm2 = m.norm(`${at}.post_attention_layernorm`, 'rms', d, epsilon);
  const gate = m.linear(`${at}.mlp.gate_proj`, 'gate', [d, inner], { biased: biases.ffn });
  const up = m.linear(`${at}.mlp.up_proj`, 'up', [d, inner], { biased: biases.ffn });
  const down = m.linear(`${at}.mlp.down_proj`, 'down', [inner, d], { biased: biases.ffn });
  const feed = m.output('ffn.output', `${at}.mlp`, d);
  const scale = 1 / Math.sqrt(headDim);

  return (f: Forward, x: Tensor, { keys, read }: Sequence, { cos, sin }: ReturnType<Rotation>): Tensor => block(f, x, (x) => {
    const stream = read(x), normed = norm1(f, x), y = read(normed);
    const attended = attend(f, y, (z) => {
      const all = y === normed ? z : normed;
      // Rotated where the tokens lie, then read.
      const q = splitHeads(read(joinHeads(rotary(splitHeads(query(f, all), heads), cos, sin))), heads);
      const k = rotary(splitHeads(key(f, all), kvHeads), cos, sin);
      const v = splitHeads(value(f, all), kvHeads);
      return project(f, joinHeads(attention(f, z, { q, k, v, ...keys, causal: true, scale })));
    }, { stream });
    const h = residual(attended, stream);
    let mid: Tensor;
    const fed = feed(f, norm2(f, h), (z) => down(f, (mid = tf.mul(gate(f, z, activation), up(f, z)))), { stream: h, mid: () => mid });
    return residual(fed, h);
  });
}
