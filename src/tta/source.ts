import type { TtaMethod } from './method.js';

/** No adaptation: stored statistics, θ₀ for ever. The baseline of every comparison. */
const source: TtaMethod = {
  name: 'source',
  summary: 'the model as it is',
  paper: null,
  options: {},
  start(source) {
    const network = source.copy([], 'source');
    return { step: (x) => network.logits(x), state: () => new Map(), restore: () => undefined, learnt: () => new Map(), dispose: () => network.dispose() };
  },
};

export default source;
