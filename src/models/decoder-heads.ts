import { dropoutRate } from './config.js';
import { lastToken, outputs, dense, type HeadLayouts } from './heads.js';
import type { HeadTensor } from './model.js';
import type { Headers, Modules } from './modules.js';

interface Options {
  d: number;
  /** The word embeddings, which language modelling reads out with where the checkpoint has no `lm_head`. */
  table: string;
  std: number;
  /** Where transformers' ForTokenClassification class keeps its layer. */
  tagger: 'score' | 'classifier';
}

/** The heads of causal decoders: `lm_head` (tied or not), `score` on the last token, a tag per token (the only one with dropout, as in transformers). */
export function decoderHeads(checkpoint: Headers, m: Modules, { d, table, std, tagger }: Options): { heads: HeadLayouts; width: { classify: string; tag: string } } {
  const tied = checkpoint.config.tie_word_embeddings === true || !checkpoint.has('lm_head.weight');
  const readOut = m.headLinear('lm_head', d, { weight: tied ? table : 'lm_head.weight' });
  const score = m.headLinear('score', d);
  const drop = m.dropout('dropout', dropoutRate(checkpoint, 'classifier_dropout', dropoutRate(checkpoint, 'hidden_dropout', 0.1)));
  const tag = tagger === 'score' ? score : m.headLinear(tagger, d);
  const weight = (out: number): HeadTensor => ({ name: 'score.weight', shape: [out, d], init: 'normal', std });
  const heads: HeadLayouts = {
    classify: { tensors: (head) => [weight(outputs(head))], reads: 'last', logits: (f, features) => score(f, lastToken(features)) },
    tag: { tensors: (head) => dense(tagger, outputs(head), d, std), logits: (f, { hidden }) => tag(f, drop(f, hidden)) },
    clm: { tensors: () => [], logits: (f, { hidden }) => readOut(f, hidden) },
  };
  heads.regress = heads.classify;
  return { heads, width: { classify: 'score.weight', tag: `${tagger}.weight` } };
}
