import { batchNormTrain, tf, untracked, type Tensor1D, type Tensor4D, type Variable } from '@graft/kernels';
import type { Method, Params, ParamSpec, TensorShapes } from './method.js';

/** PyTorch's momentum of running statistics. */
const MOMENTUM = 0.1;

/**
 * Every weight of the model, trained. Batch normalisation trains with the statistics of the batch and moves its running ones, which
 * evaluation uses.
 */
const full: Method = {
  name: 'full',
  summary: 'all weights',
  paper: null,
  options: {},
  sites: (model) => model.sites.filter((s) => s.kind === 'norm' && s.norm!.type === 'batch'),
  params: (site) => ['running_mean', 'running_var'].map((name) => ({ name, shape: [site.dimOut], init: { kind: 'base', tensor: `${site.name}.${name}` }, trainable: false })),
  replaced: (_model, _config, base) => trainedWhole(base),
  change({ site, x, base, pass }, p) {
    if (!pass.train) return base(x);
    const { y, mean, variance } = batchNormTrain(x as Tensor4D, pass.weight(site.weight!) as Tensor1D, pass.weight(site.bias!) as Tensor1D, site.norm!.epsilon);
    const n = x.size / site.dimOut;
    untracked(() => {
      move(p, 'running_mean', mean);
      move(p, 'running_var', tf.mul(variance, n / (n - 1))); // running variances are unbiased
    });
    return y;
  },
};

const move = (p: Params, name: string, value: tf.Tensor): void => (p[name] as Variable).assign(tf.add(tf.mul(p[name], 1 - MOMENTUM), tf.mul(value, MOMENTUM)));

export default full;

/** Every tensor of the base but positions and statistics, to be trained. */
export const trainedWhole = (base: TensorShapes): ParamSpec[] =>
  [...base.names()].filter((name) => !/position_ids$|num_batches_tracked$|running_(mean|var)$/.test(name)).map((name) => ({
    name, shape: [...base.shape(name)!], init: { kind: 'base', tensor: name }, decay: base.shape(name)!.length > 1,
  }));
