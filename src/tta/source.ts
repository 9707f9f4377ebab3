import { unchanging } from './learner.js';
import type { TtaMethod } from './method.js';
import { STORED } from './statistics.js';

/** No adaptation: stored statistics, θ₀ for ever. The baseline of every comparison. */
const source: TtaMethod = {
  name: 'source',
  summary: 'the model as it is',
  dense: true,
  paper: null,
  options: {},
  start: (source) => unchanging(source.copy([], STORED)),
};

export default source;
