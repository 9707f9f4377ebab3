import { tf, type Tensor } from '@graft/kernels';
import type { Adaptation } from './method.js';
import type { Network } from './network.js';
import { assign, prefixed, type Gradients, type Optimiser } from './optimiser.js';

/** A network in training: what most methods keep between batches. */
export interface Learner extends Omit<Adaptation, 'step'> {
  network: Network;
  optimiser: Optimiser;
  /** One update down the gradient of `loss`; returns what the loss kept. */
  descend<T extends Tensor>(loss: () => { loss: Tensor; kept: T }): T;
}

/** @param prefix of the network's tensors in the state */
export function learner(network: Network, optimiser: Optimiser, prefix = 'param.'): Learner {
  return {
    network, optimiser,
    descend(loss) {
      const { grads, kept } = network.gradients(loss);
      update(optimiser, grads);
      return kept;
    },
    state: () => new Map([...prefixed(prefix, network.own), ...optimiser.state()]),
    restore(state) {
      assign(network.own, state, prefix);
      optimiser.restore(state);
    },
    learnt: () => new Map(network.own),
    dispose() {
      network.dispose();
      optimiser.dispose();
    },
  };
}

/** A step with gradients that are then freed. */
export function update(optimiser: Optimiser, grads: Gradients): void {
  optimiser.step(grads);
  tf.dispose([...grads.values()]);
}

/** A network that never changes, and a way to predict. */
export const unchanging = (network: Network, step: Adaptation['step'] = (x) => network.logits(x)): Adaptation =>
  ({ step, state: () => new Map(), restore: () => undefined, learnt: () => new Map(), dispose: () => network.dispose() });
