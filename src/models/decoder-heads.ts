import { dropoutRate } from './config.js';
import { lastToken, outputs, dense, type HeadLayouts } from './heads.js';
import type { HeadTensor } from './model.js';
import { modulePrefix, type Headers, type Modules } from './modules.js';

interface Options {
  d: number;
  /** Of the word embeddings. */
  rows: number;
  names: DecoderNames;
  std: number;
  /** Where transformers' ForTokenClassification class keeps its layer. */
  tagger: 'score' | 'classifier';
}

export interface DecoderNames {
  /** Before the names of all modules but the heads. */
  prefix: string;
  /** The weights that language modelling reads out with: `lm_head`, or the word embeddings. */
  readOut: string;
}

/**
 * As a checkpoint's tensors are named. Of a model yet to be made, config.json says whether it has an `lm_head` of its own, or, where that is silent,
 * the default of transformers; with one it is named as transformers' class with the head names it.
 * @param table the word embeddings, without the prefix
 */
export function decoderNames(checkpoint: Headers, prefix: string, table: string, tiedByDefault: boolean): DecoderNames {
  const { blank, config } = checkpoint;
  const own = blank ? (config.tie_word_embeddings ?? tiedByDefault) === false : config.tie_word_embeddings !== true && checkpoint.has('lm_head.weight');
  const found = blank && own ? prefix : modulePrefix(checkpoint, prefix, table);
  return { prefix: found, readOut: own ? 'lm_head.weight' : found + table };
}

/** The heads of causal decoders: `lm_head` (tied or not), `score` on the last token, a tag per token (the only one with dropout, as in transformers). */
export function decoderHeads(checkpoint: Headers, m: Modules, { d, rows, names: { readOut: weight }, std, tagger }: Options): { heads: HeadLayouts; width: { classify: string; tag: string } } {
  const readOut = m.headLinear('lm_head', d, { weight, ...(checkpoint.blank ? { dimOut: rows, bias: undefined } : {}) });
  const score = m.headLinear('score', d);
  const drop = m.dropout('dropout', dropoutRate(checkpoint, 'classifier_dropout', dropoutRate(checkpoint, 'hidden_dropout', 0.1)));
  const tag = tagger === 'score' ? score : m.headLinear(tagger, d);
  const scores = (out: number): HeadTensor => ({ name: 'score.weight', shape: [out, d], init: 'normal', std });
  const heads: HeadLayouts = {
    classify: { tensors: (head) => [scores(outputs(head))], reads: 'last', logits: (f, features) => score(f, lastToken(features)) },
    tag: { tensors: (head) => dense(tagger, outputs(head), d, std), logits: (f, { hidden }) => tag(f, drop(f, hidden)) },
    clm: { tensors: () => [], logits: (f, { hidden }) => readOut(f, hidden) },
  };
  heads.regress = heads.classify;
  return { heads, width: { classify: 'score.weight', tag: `${tagger}.weight` } };
}
