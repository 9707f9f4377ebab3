import type { Metric, TextPrediction } from './metric.js';

const overText = (name: string, summary: string, value: (nll: number, tokens: number, bytes: number) => number): Metric => ({
  name, summary, kind: 'text', size: () => 3,
  add: (row, sums, weight) => {
    const { nll, tokens, bytes } = row as TextPrediction;
    sums[0] += weight * nll;
    sums[1] += weight * tokens;
    sums[2] += weight * bytes;
  },
  value: ([nll, tokens, bytes]) => value(nll, tokens, bytes),
});

/** exp(total nll / tokens) over the corpus; comparable only under the same tokeniser. */
export const perplexity = overText('perplexity', 'exp of the mean token negative log-likelihood', (nll, tokens) => Math.exp(nll / tokens));

export const tokenNll = overText('token-nll', 'mean negative log-likelihood of a token, in nats', (nll, tokens) => nll / tokens);

/** total nll / (ln 2 · UTF-8 bytes); comparable across tokenisers. */
export const bitsPerByte = overText('bits-per-byte', 'bits a byte of text costs', (nll, _, bytes) => nll / (Math.LN2 * bytes));
