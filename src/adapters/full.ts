import type { Tensor1D, Variable } from '@graft/kernels';
import { normaliseInTraining } from '../models/batch-norm.js';
import type { Method, ParamSpec, TensorShapes } from './method.js';

/**
 * Every weight of the model, trained. Batch normalisation trains with the statistics of the batch and moves its running ones, which
 * evaluation uses.
 */
const full: Method = {
  name: 'full',
  summary: 'all weights',
  paper: null,
  options: {},
  // That of a head which the base lacks trains as part of the head.
  sites: (model) => model.sites.filter((s) => s.kind === 'norm' && s.norm!.type === 'batch' && (s.role !== 'head' || s.task === model.head?.task)),
  params: (site) => ['running_mean', 'running_var'].map((name) => ({ name, shape: [site.dimOut], init: { kind: 'base', tensor: `${site.name}.${name}` }, trainable: false })),
  replaced: (_model, _config, base) => trainedWhole(base),
  change({ site, x, base, pass }, p) {
    if (!pass.train) return base(x);
    return normaliseInTraining(x, pass.weight(site.weight!) as Tensor1D, pass.weight(site.bias!) as Tensor1D, site.norm!.epsilon, [p.running_mean, p.running_var] as [Variable, Variable]);
  },
};

export default full;

/** Every tensor of the base but positions and statistics, to be trained. */
export const trainedWhole = (base: TensorShapes): ParamSpec[] =>
  [...base.names()].filter((name) => !/position_ids$|num_batches_tracked$|running_(mean|var)$/.test(name)).map((name) => ({
    name, shape: [...base.shape(name)!], init: { kind: 'base', tensor: name }, decay: base.shape(name)!.length > 1,
  }));
