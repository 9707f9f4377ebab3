import { residual, tf, type Tensor } from '@graft/kernels';
import { assemble } from './assemble.js';
import { activationOf, count, dropoutRate, layerCount, real } from './config.js';
import type { Forward } from './forward.js';
import { dense, firstToken, outputs, scaleAndShift, type HeadLayouts } from './heads.js';
import type { Batch, Features, Model, Reads, TextBatch } from './model.js';
import { modulePrefix, Modules, tableRows, type Headers } from './modules.js';
import { overSequence, type Sequence } from './sequence.js';
import { joinHeads, positions, splitHeads, through } from './transformer.js';

/** BERT (Devlin et al., 2019) and encoders of its layout, MiniLM among them; modules as in transformers' BertModel. */
export default function bert(checkpoint: Headers): Model {
  const m = new Modules(checkpoint);
  const prefix = modulePrefix(checkpoint, 'bert.', 'embeddings.word_embeddings.weight');
  const encoder = bertEncoder(checkpoint, m, prefix, 0);
  const { d, std, rows } = encoder;
  m.layer = encoder.layers;
  const pooler = m.linear(`${prefix}pooler.dense`, 'pooler', [d, d], { bias: `${prefix}pooler.dense.bias` });
  const drop = m.dropout('dropout', encoder.classifierDropout);
  const classifier = m.headLinear('classifier', d);
  const transform = m.linear('cls.predictions.transform.dense', 'head', [d, d], { bias: 'cls.predictions.transform.dense.bias' });
  const norm = m.norm('cls.predictions.transform.LayerNorm', 'layer', d, encoder.epsilon, 'head');
  const decoder = m.headLinear('cls.predictions.decoder', d, { weight: encoder.table, bias: 'cls.predictions.bias' });

  const heads: HeadLayouts = {
    classify: {
      tensors: (head) => dense('classifier', outputs(head), d, std),
      below: dense(`${prefix}pooler.dense`, d, d, std),
      reads: 'first',
      logits: (f, { hidden }) => classifier(f, drop(f, pooler(f, firstToken(hidden), 'tanh'))),
    },
    tag: {
      tensors: (head) => dense('classifier', outputs(head), d, std),
      logits: (f, { hidden }) => classifier(f, drop(f, hidden)),
    },
    mlm: {
      tensors: () => [],
      below: [
        ...dense('cls.predictions.transform.dense', d, d, std), ...scaleAndShift('cls.predictions.transform.LayerNorm', d),
        { name: 'cls.predictions.bias', shape: [rows], init: 'zeros' },
      ],
      logits: (f, { hidden }) => decoder(f, norm(f, transform(f, hidden, encoder.activation))),
    },
  };
  heads.regress = heads.classify;
  return assemble(checkpoint, m, { ...encoder.parts, heads, width: { classify: 'classifier.weight', tag: 'classifier.weight' } });
}

/**
 * Embeddings and blocks of the BERT layout: LayerNorm after each residual addition.
 * @param firstPosition the position of the first token; RoBERTa counts from padding_idx + 1
 */
export function bertEncoder(checkpoint: Headers, m: Modules, prefix: string, firstPosition: number) {
  const [d, layers, heads] = [count(checkpoint, 'hidden_size'), layerCount(checkpoint, 'num_hidden_layers'), count(checkpoint, 'num_attention_heads')];
  const epsilon = real(checkpoint, 'layer_norm_eps', 1e-12);
  const at = `${prefix}embeddings`;
  const table = `${at}.word_embeddings.weight`;
  const [rows, places, segments] = [
    tableRows(checkpoint, table, 'vocab_size'), tableRows(checkpoint, `${at}.position_embeddings.weight`, 'max_position_embeddings'),
    tableRows(checkpoint, `${at}.token_type_embeddings.weight`, 'type_vocab_size'),
  ];
  const word = m.embedding(`${at}.word_embeddings`, 'embed', [rows, d]);
  const enter = m.tokens(d);
  const position = m.embedding(`${at}.position_embeddings`, 'position', [places, d]);
  const type = m.embedding(`${at}.token_type_embeddings`, 'type', [segments, d]);
  const norm = m.norm(`${at}.LayerNorm`, 'layer', d, epsilon);
  const dropout = dropoutRate(checkpoint, 'hidden_dropout_prob', 0.1);
  const drop = m.dropout(`${at}.dropout`, dropout);
  const activation = activationOf(checkpoint, 'hidden_act', 'gelu');
  const shape: Shape = { d, heads, inner: count(checkpoint, 'intermediate_size'), epsilon, activation, dropout, attentionDropout: dropoutRate(checkpoint, 'attention_probs_dropout_prob', 0.1) };
  const blocks = Array.from({ length: layers }, (_, i) => bertLayer(m, i, `${prefix}encoder.layer.${i}`, shape));

  /** Prompts stand among the word embeddings, so position, type and norm are applied to them as well. */
  const embed = (f: Forward, { ids, mask, types }: TextBatch) => {
    const tokens = enter(f, { x: word(f, ids), mask, prompts: 0 });
    const [B, T] = tokens.x.shape as number[];
    const placed = tf.add(tokens.x, position(f, positions(f, tokens.x, places, firstPosition)));
    const kinds = types && segments > 1 ? tf.pad(types, [[0, 0], [T - types.shape[1], 0]]) : tf.zeros([B, T], 'int32');
    return { ...tokens, x: drop(f, norm(f, residual(placed, type(f, kinds)))) };
  };
  const backbone = (f: Forward, batch: Batch, reads?: Reads): Features => {
    const tokens = f.stem(() => embed(f, batch as TextBatch));
    return overSequence(f, batch as TextBatch, tokens, reads, (x, sequence, last) => through(blocks, x, (block, h, isLast) => block(f, h, isLast ? last : sequence)));
  };
  const parts = { input: 'text' as const, hiddenSize: d, layers, maxLength: places - firstPosition, defaultTargets: ['query', 'value'], backbone };
  const classifierDropout = dropoutRate(checkpoint, 'classifier_dropout', dropout);
  return { parts, d, layers, epsilon, activation, classifierDropout, table, rows, std: real(checkpoint, 'initializer_range', 0.02) };
}

interface Shape { d: number; heads: number; inner: number; epsilon: number; activation: ReturnType<typeof activationOf>; dropout: number; attentionDropout: number }

function bertLayer(m: Modules, i: number, at: string, { d, heads, inner, epsilon, activation, dropout, attentionDropout }: Shape) {
  const block = m.block(i, at, [d, d]);
  const query = m.linear(`${at}.attention.self.query`, 'query', [d, d]);
  const key = m.linear(`${at}.attention.self.key`, 'key', [d, d]);
  const value = m.linear(`${at}.attention.self.value`, 'value', [d, d]);
  const attention = m.attention(`${at}.attention.self`, d, { heads, kvHeads: heads, headDim: d / heads, dropout: attentionDropout });
  const project = m.linear(`${at}.attention.output.dense`, 'output', [d, d]);
  const attend = m.output('attention.output', `${at}.attention.output`, d, { postNorm: true, dropout });
  const norm1 = m.norm(`${at}.attention.output.LayerNorm`, 'layer', d, epsilon);
  const up = m.linear(`${at}.intermediate.dense`, 'up', [d, inner]);
  const down = m.linear(`${at}.output.dense`, 'down', [inner, d]);
  const feed = m.output('ffn.output', `${at}.output`, d, { postNorm: true, dropout });
  const norm2 = m.norm(`${at}.output.LayerNorm`, 'layer', d, epsilon);
  const scale = 1 / Math.sqrt(d / heads);

  return (f: Forward, x: Tensor, { keys, read }: Sequence): Tensor => block(f, x, (x) => {
    const y = read(x);
    const attended = attend(f, y, (z) => {
      const all = y === x ? z : x;
      const [q, k, v] = [query(f, z), key(f, all), value(f, all)].map((t) => splitHeads(t, heads));
      return project(f, joinHeads(attention(f, z, { q, k, v, ...keys, causal: false, scale })));
    }, { stream: y, norm: (t) => norm1(f, t) });
    const h = norm1(f, residual(attended, y));
    let mid: Tensor;
    const fed = feed(f, h, (z) => down(f, (mid = up(f, z, activation))), { stream: h, norm: (t) => norm2(f, t), mid: () => mid });
    return norm2(f, residual(fed, h));
  });
}
