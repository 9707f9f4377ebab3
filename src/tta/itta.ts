import { Rng, tf, type Tensor } from '@graft/kernels';
import { usageError } from '../errors.js';
import { blockWeights, consistency, Styled } from './consistency.js';
import { train, type Config } from './itta-training.js';
import { learner } from './learner.js';
import type { TtaMethod } from './method.js';
import { drawMix, stageEnds } from './mixstyle.js';
import { adam, adamOptions } from './optimiser.js';
import { sourceOption } from './prepared.js';
import { STORED } from './statistics.js';

/**
 * ITTA (Chen et al., 2023): before the stream the network learns from the source domains beside a consistency loss that is learnt so that its
 * gradient points where the classification's does (§3.2); at test time that loss trains parameters added for it alone, element-wise blocks
 * f_Θ after each stage (§3.3). Training starts from the model, which should have learnt all source domains, and keeps its statistics of
 * normalisation. The logits are those after the update.
 */
const itta: TtaMethod<Config> = {
  name: 'itta',
  summary: 'a consistency loss learnt to agree with classification trains blocks added after each stage',
  paper: { title: 'Improved Test-Time Adaptation for Domain Generalization', authors: 'Chen, Zhang, Song, Shan, Liu', year: 2023, url: 'https://arxiv.org/abs/2304.04494' },
  options: {
    ...adamOptions(5e-6),
    eta: { type: 'number', describe: 'weight of the loss at test time; under Adam it matters beside 1e-8 alone', default: 1e-6, min: 0 },
    sourceData: sourceOption('with labels and domains: network and loss learn from them'),
    sourceSteps: { type: 'number', metavar: 'N', describe: 'steps of training over them', default: 5000, min: 0 },
    perDomain: { type: 'number', metavar: 'N', describe: 'images of each domain in such a step', default: 32, min: 1 },
    sourceLr: { type: 'number', describe: 'learning rate of the network there', default: 5e-5, min: 0 },
    lossLr: { type: 'number', describe: 'learning rate of the loss there', default: 5e-6, min: 0 },
  },
  needsSource: true,
  labelled: true,
  domains: true,
  prepare: train,
  start(original, { eta, ...rates }, seed, prepared) {
    const part = (prefix: string): Map<string, Tensor> => new Map([...prepared!].flatMap(([n, t]): [string, Tensor][] => (n.startsWith(prefix) ? [[n.slice(prefix.length), t]] : [])));
    const w = part('loss.'), styled = new Styled(original, true, part('network.'));
    const theta = blockWeights(original), network = styled.source.copy([], STORED, [], theta), stages = stageEnds(original.model);
    tf.dispose([...theta.values()]);
    const training = learner(network, adam(network.own, rates));
    let steps = 0;
    return {
      ...training,
      step(x) {
        const mix = drawMix(stages, x.shape[0], new Rng('itta', seed, steps++));
        // One image alone is mixed with itself: what is left of the loss is rounding.
        if (x.shape[0] > 1) training.descend(() => {
          const [plain, mixed] = styled.both(network, x, mix), loss = tf.mul(eta, consistency(w, plain.features, mixed.features));
          return { loss, kept: loss };
        }).dispose();
        return network.logits(x);
      },
      state: () => new Map<string, Tensor>([...training.state(), ['steps', tf.scalar(steps, 'int32')]]),
      restore(state) {
        training.restore(state);
        steps = state.get('steps')!.dataSync()[0];
      },
      learnt: () => new Map(),
      graft: () => { throw usageError('--save-graft: what itta learns stands between the stages and is no change of weights; --state keeps it'); },
    };
  },
};

export default itta;
