import { tf, type Tensor1D, type Tensor2D } from '@graft/kernels';
import type { Model } from '../models/model.js';
import type { Site } from '../models/site.js';
import { learner, update } from './learner.js';
import { entropy, marginOption, weightedMean } from './losses.js';
import type { TtaMethod } from './method.js';
import { assign, prefixed, sgd, sgdOptions } from './optimiser.js';
import { selection, selectOption } from './selection.js';
import { ascend } from './sharpness.js';
import { BATCH } from './statistics.js';

interface Config extends Record<string, unknown> { lr: number; momentum: number; margin: number; rho: number; recovery: number; select: 'all' | 'crowd' }

/**
 * SAR (Niu et al., 2023, §3.2): entropy of the reliable rows, H(p) < E₀, minimised where it is flat: its gradient is taken at
 * θ + ρ g/‖g‖, over γ, β of the normalisation layers below the top stage. Where the moving average of the loss falls below
 * a bound, the model has collapsed and starts again from θ₀. The logits are those before the update.
 */
const sar: TtaMethod<Config> = {
  name: 'sar',
  summary: 'sharpness-aware entropy minimisation on reliable images, with recovery',
  dense: true,
  paper: { title: 'Towards Stable Test-Time Adaptation in Dynamic Wild World', authors: 'Niu, Wu, Zhang, Wen, Chen, Zhao, Tan', year: 2023, url: 'https://arxiv.org/abs/2302.12400' },
  options: {
    ...sgdOptions(2.5e-4, 0.9),
    margin: marginOption(0.4),
    rho: { type: 'number', describe: 'how far the weights are moved up the loss', default: 0.05, min: 0 },
    recovery: { type: 'number', describe: 'start again when the moving average of the entropy falls below this', default: 0.2, min: 0 },
    ...selectOption,
  },
  start(source, { margin, rho, recovery, select, ...rates }) {
    const network = source.copy(source.affine(belowTop(source.model)), BATCH), selected = selection(source, select);
    const training = learner(network, sgd(network.own, rates));
    const e0 = margin * Math.log(source.classes);
    let average = NaN;

    /** The mean entropy of those `rows` in `among` that are below E₀, with its gradient. */
    function reliable(x: Parameters<typeof network.logits>[0], among: (z: Tensor2D) => readonly boolean[]) {
      let rows: boolean[] = [], mean = 0;
      const { grads, kept } = network.gradients(() => {
        const z = network.logits(x), H = entropy(z);
        const values = [...H.dataSync()], counts = among(z);
        rows = values.map((h, i) => h < e0 && counts[i]);
        const loss = weightedMean(H as Tensor1D, rows.map(Number));
        mean = loss.dataSync()[0];
        return { loss, kept: z };
      });
      return { grads, kept: kept as Tensor2D, rows, mean };
    }

    function reset(): void {
      assign(network.own, new Map(prefixed('', new Map([...network.own.keys()].map((n) => [n, source.value(n)])))), '');
      training.optimiser.reset();
      average = NaN;
    }

    return {
      ...training,
      step(x) {
        const first = reliable(x, (z) => selected.rows(x, z));
        if (first.rows.includes(true)) {
          const back = ascend(network.own, first.grads, rho);
          const second = reliable(x, () => first.rows);
          back();
          second.kept.dispose();
          if (second.rows.includes(true)) {
            update(training.optimiser, second.grads);
            average = Number.isNaN(average) ? second.mean : 0.9 * average + 0.1 * second.mean;
            if (average < recovery) reset();
          } else {
            tf.dispose([...second.grads.values()]);
          }
        }
        tf.dispose([...first.grads.values()]);
        return first.kept;
      },
      dispose: () => [training, selected].forEach((part) => part.dispose()),
      state: () => new Map([...training.state(), ['average', tf.scalar(average)]]),
      restore(state) {
        training.restore(state);
        average = state.get('average')!.dataSync()[0];
      },
    };
  },
};

/** The sites below the top: below the last widening of a network that widens, below the last quarter of the blocks of one that does not. */
export function belowTop(model: Model): readonly Site[] {
  const blocks = model.sites.filter((s) => s.kind === 'block');
  const widest = Math.max(...blocks.map((s) => s.dimOut));
  const wide = blocks.filter((s) => s.dimOut === widest);
  const top = wide.length < blocks.length ? Math.min(...wide.map((s) => s.layer)) : Math.ceil(0.75 * model.layers);
  return model.sites.filter((s) => s.layer < top);
}

export default sar;
