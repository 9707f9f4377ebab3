import type { OptionValues } from '../options.js';
import { chosen, Independent } from './independent.js';
import type { DecodingMethod } from './method.js';
import { largest, largestFew } from './probabilities.js';

export interface SampleConfig extends OptionValues { temperature: number; topK: number; topP: number; minP: number; typical: number }

/** A token drawn from softmax(logits / T), cut to the tokens that matter. */
const sample: DecodingMethod<SampleConfig> = {
  name: 'sample',
  summary: 'tokens drawn at random, from the likelier ones',
  paper: { title: 'The Curious Case of Neural Text Degeneration', authors: 'Holtzman, Buys, Du, Forbes, Choi', year: 2020, url: 'https://arxiv.org/abs/1904.09751' },
  options: {
    temperature: { type: 'number', metavar: 'T', default: 1, min: 0, describe: 'logits are divided by T; 0 is greedy' },
    topK: { type: 'number', metavar: 'K', default: 50, min: 0, describe: 'only the K most probable tokens, and equals of the last; 0: all' },
    topP: { type: 'number', metavar: 'P', default: 1, min: 0, max: 1, describe: 'only the fewest tokens that hold P of the probability (nucleus)' },
    minP: { type: 'number', metavar: 'P', default: 0, min: 0, max: 1, describe: 'only tokens of at least P times the largest probability' },
    typical: { type: 'number', metavar: 'P', default: 1, min: 0, max: 1, describe: 'only the tokens whose information is nearest to the entropy, as many as hold P of the probability (locally typical)' },
  },
  start: (prompt, setting, config, samples, rng) => {
    const streams = Array.from({ length: samples }, (_, i) => rng(i));
    return new Independent(prompt, samples, setting, (logits, i) => {
      if (config.temperature === 0) return chosen(logits, largest(logits));
      const candidates = distribution(logits, config);
      return draw(candidates, streams[i].uniform());
    });
  },
};

export default sample;

/** Tokens with their probability, by id; they sum to 1. */
export interface Candidates { ids: readonly number[]; p: readonly number[] }

/** What is drawn from: logits [V] through temperature, top-k, top-p, min-p and typical, in this order. */
export function distribution(logits: Float32Array, { temperature, topK, topP, minP, typical }: SampleConfig): Candidates {
  const border = topK > 0 && topK < logits.length ? logits[largestFew(logits, topK)[topK - 1]] : -Infinity;
  const ids: number[] = [];
  for (let i = 0; i < logits.length; i++) if (logits[i] >= border && logits[i] > -Infinity) ids.push(i);
  let kept = normalised(ids, ids.map((i) => logits[i] / temperature));
  if (topP < 1) kept = only(kept, nucleus(kept, topP));
  if (minP > 0) {
    const least = minP * Math.max(...kept.p);
    kept = only(kept, kept.p.map((p) => p >= least));
  }
  return typical < 1 ? only(kept, mostTypical(kept, typical)) : kept;
}

function normalised(ids: readonly number[], scores: readonly number[]): Candidates {
  const most = scores.reduce((a, b) => Math.max(a, b), -Infinity), e = scores.map((s) => Math.exp(s - most)), sum = e.reduce((a, b) => a + b, 0);
  return { ids, p: e.map((x) => x / sum) };
}

function only({ ids, p }: Candidates, keep: readonly boolean[]): Candidates {
  const sum = p.reduce((s, x, i) => s + (keep[i] ? x : 0), 0);
  return { ids: ids.filter((_, i) => keep[i]), p: p.filter((_, i) => keep[i]).map((x) => x / sum) };
}

/** From the least probable on, tokens are dropped while their sum stays within 1 - P; the best one stays. */
function nucleus({ p }: Candidates, P: number): boolean[] {
  const order = p.map((_, i) => i).sort((a, b) => p[a] - p[b] || b - a), keep = p.map(() => true);
  let sum = 0;
  for (const i of order.slice(0, -1)) {
    sum += p[i];
    if (sum > 1 - P) break;
    keep[i] = false;
  }
  return keep;
}

/** The smallest set of tokens nearest to |−ln p − H| = 0 that holds P of the probability (Meister et al., 2023). */
function mostTypical({ p }: Candidates, P: number): boolean[] {
  const entropy = p.reduce((h, x) => h - x * Math.log(x), 0), off = p.map((x) => Math.abs(-Math.log(x) - entropy));
  const order = p.map((_, i) => i).sort((a, b) => off[a] - off[b] || a - b), keep = p.map(() => false);
  let sum = 0;
  for (const i of order) {
    keep[i] = true;
    sum += p[i];
    if (sum >= P) break;
  }
  return keep;
}

/** By the inverse of the cumulative distribution. @param u in [0, 1) */
export function draw({ ids, p }: Candidates, u: number): { token: number; score: number } {
  let at = 0;
  for (let sum = p[0]; sum <= u && at < p.length - 1; sum += p[at]) at++;
  return { token: ids[at], score: Math.log(p[at]) };
}
