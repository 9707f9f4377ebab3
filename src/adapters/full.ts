import type { Method } from './method.js';

/** Every weight of the model, trained. Running statistics of batch normalisation are buffers that training moves. */
const full: Method = {
  name: 'full',
  summary: 'all weights',
  paper: null,
  options: {},
  sites: () => [],
  params: () => [],
  replaced: (_model, _config, base) => [...base.names()].filter((name) => !/position_ids$|num_batches_tracked$/.test(name)).map((name) => ({
    name, shape: [...base.shape(name)!], init: { kind: 'base', tensor: name }, decay: base.shape(name)!.length > 1, trainable: !/running_(mean|var)$/.test(name),
  })),
};

export default full;
