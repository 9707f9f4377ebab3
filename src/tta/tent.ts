import type { Tensor2D } from '@graft/kernels';
import { learner } from './learner.js';
import { entropy } from './losses.js';
import type { TtaMethod } from './method.js';
import { adam, adamOptions, type AdamConfig } from './optimiser.js';
import { selection, selectOption } from './selection.js';
import { BATCH } from './statistics.js';

/**
 * Tent: minimises the mean prediction entropy over the affine parameters γ, β of the normalisation layers, which normalise
 * with the batch's statistics (Wang et al., 2021, §3). The logits are those before the update.
 */
const tent: TtaMethod<AdamConfig & { steps: number; select: 'all' | 'crowd' }> = {
  name: 'tent',
  summary: 'entropy minimisation over the affine parameters of normalisation',
  dense: true,
  paper: { title: 'Tent: Fully Test-Time Adaptation by Entropy Minimization', authors: 'Wang, Shelhamer, Liu, Olshausen, Darrell', year: 2021, url: 'https://arxiv.org/abs/2006.10726' },
  options: { ...adamOptions(1e-3), steps: { type: 'number', metavar: 'N', describe: 'updates a batch', default: 1, min: 1 }, ...selectOption },
  start(source, config) {
    const network = source.copy(source.affine(), BATCH), selected = selection(source, config.select);
    const training = learner(network, adam(network.own, config));
    return {
      ...training,
      step(x) {
        let returned: Tensor2D | undefined;
        for (let i = 0; i < config.steps; i++) {
          const z = training.descend(() => {
            const z = network.logits(x);
            return { loss: selected.mean(entropy(z), x, z), kept: z };
          });
          if (returned) z.dispose();
          else returned = z;
        }
        return returned!;
      },
      dispose: () => [training, selected].forEach((part) => part.dispose()),
    };
  },
};

export default tent;
