import { distribution, draw, type Drawn, type Sampling } from '@graft/kernels/distribution';
import type { OptionValues } from '../options.js';
import { chosen, Independent } from './independent.js';
import type { DecodingMethod } from './method.js';
import { largest } from './probabilities.js';

export interface SampleConfig extends OptionValues, Sampling { temperature: number; topK: number; topP: number; minP: number; typical: number }

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
    const choose = (logits: Float32Array, i: number): Drawn => (config.temperature === 0 ? chosen(logits, largest(logits)) : draw(distribution(logits, config), streams[i].uniform()));
    return new Independent(prompt, samples, setting, choose, { sampling: config, uniform: (i) => streams[i].uniform() });
  },
};

export default sample;
