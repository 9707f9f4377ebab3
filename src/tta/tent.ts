import { tf, type Tensor2D } from '@graft/kernels';
import { adam, adamOptions, assign, prefixed } from './adam.js';
import type { TtaMethod } from './method.js';

/** H(p) = -Σ_c p_c ln p_c of each row of logits: [B]. */
export function entropy(z: Tensor2D): tf.Tensor1D {
  const logp = tf.logSoftmax(z);
  return tf.neg(tf.sum(tf.mul(tf.exp(logp), logp), -1)) as tf.Tensor1D;
}

/**
 * Tent: minimises the mean prediction entropy over the affine parameters γ, β of the normalisation layers, which normalise
 * with the batch's statistics (Wang et al., 2021, §3). The logits are those before the update.
 */
const tent: TtaMethod<{ lr: number; beta1: number; beta2: number; steps: number }> = {
  name: 'tent',
  summary: 'entropy minimisation over the affine parameters of normalisation',
  paper: { title: 'Tent: Fully Test-Time Adaptation by Entropy Minimization', authors: 'Wang, Shelhamer, Liu, Olshausen, Darrell', year: 2021, url: 'https://arxiv.org/abs/2006.10726' },
  options: { ...adamOptions(1e-3), steps: { type: 'number', describe: 'updates a batch', default: 1, min: 1 } },
  start(source, config) {
    const network = source.copy(source.affine(), 'batch');
    const optimiser = adam(network.own, config);
    return {
      step(x) {
        let returned: Tensor2D | undefined;
        for (let i = 0; i < config.steps; i++) {
          const { grads, kept } = network.gradients(() => {
            const z = network.logits(x);
            return { loss: tf.mean(entropy(z)), kept: z };
          });
          optimiser.step(grads);
          tf.dispose([...grads.values()]);
          if (returned) kept.dispose();
          else returned = kept;
        }
        return returned!;
      },
      state: () => new Map([...prefixed('param.', network.own), ...optimiser.state()]),
      restore(state) {
        assign(network.own, state, 'param.');
        optimiser.restore(state);
      },
      learnt: () => new Map(network.own),
      dispose() {
        network.dispose();
        optimiser.dispose();
      },
    };
  },
};

export default tent;
