import { chosen, Independent } from './independent.js';
import type { DecodingMethod } from './method.js';
import { largest } from './probabilities.js';

/** argmax p(x_t | x_<t); of equals, the lowest id. */
const greedy: DecodingMethod = {
  name: 'greedy',
  summary: 'the most probable token, step by step',
  paper: null,
  options: {},
  start: (prompt, setting, _config, samples) => new Independent(prompt, samples, setting, (logits) => chosen(logits, largest(logits))),
};

export default greedy;
