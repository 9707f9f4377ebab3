import { tf, type Tensor } from '@graft/kernels';
import { aggregate } from './aggregator.js';
import { Domains } from './domains.js';
import { innerStep } from './meta-distill.js';
import { expertFeatures, extractor, train, type Config } from './meta-dmoe-training.js';
import type { TtaMethod } from './method.js';
import { assign, prefixed } from './optimiser.js';
import { sourceOption } from './prepared.js';
import { STORED } from './statistics.js';

/**
 * Meta-DMoE (Zhong et al., 2022): experts for groups of source domains, a transformer that aggregates their features, and a student that
 * was meta-trained so that one step towards the aggregate on a few images of a domain without labels helps there (algorithms 1 and 2). At test time
 * the first images make that step, and everything is predicted after it: run it with --reset-on domain. Experts and student start from
 * the model, which should have learnt all source domains, and keep its statistics of normalisation.
 */
const metaDmoe: TtaMethod<Config> = {
  name: 'meta-dmoe',
  summary: 'one step towards the aggregated features of domain experts, which a student was meta-trained for',
  paper: { title: 'Meta-DMoE: Adapting to Domain Shift by Meta-Distillation from Mixture-of-Experts', authors: 'Zhong, Chi, Gu, Yu, Wang, Tang', year: 2022, url: 'https://arxiv.org/abs/2210.03885' },
  options: {
    experts: { type: 'number', metavar: 'M', describe: 'groups the source domains are split into, an expert each', default: 3, min: 2 },
    heads: { type: 'number', describe: 'attention heads of the aggregator', default: 16, min: 1 },
    support: { type: 'number', metavar: 'N', describe: 'images of a domain that are adapted to, once', default: 24, min: 1 },
    innerLr: { type: 'number', describe: 'rate α of the step at test time, and of that in meta-training', default: 1e-3, min: 0 },
    sourceData: sourceOption('with labels and domains: experts, aggregator and student learn from them'),
    expertEpochs: { type: 'number', metavar: 'N', describe: 'passes of each expert over its domains', default: 5, min: 0 },
    expertLr: { type: 'number', describe: 'learning rate of Adam there', default: 1e-3, min: 0 },
    aggregatorEpochs: { type: 'number', metavar: 'N', describe: 'passes of the aggregator alone over the source data', default: 5, min: 0 },
    metaSteps: { type: 'number', metavar: 'N', describe: 'episodes of meta-training', default: 400, min: 0 },
    studentLr: { type: 'number', describe: 'learning rate of the student in meta-training', default: 1e-4, min: 0 },
    aggregatorLr: { type: 'number', describe: 'learning rate of the aggregator', default: 1e-3, min: 0 },
    firstOrder: { type: 'boolean', describe: 'no gradient through the inner step: faster, and the aggregator stays as it is', default: false },
  },
  needsSource: true,
  labelled: true,
  domains: true,
  prepare: (source, batches, config, seed) => train(source, new Domains(batches), config, seed),
  start(source, { experts: M, heads, support, innerLr }, _seed, prepared) {
    const student = source.copy(source.parameters(), STORED), experts = Array.from({ length: M }, () => source.copy(source.extractor(), STORED));
    experts.forEach((e, i) => assign(e.own, prepared!, `expert.${i}.`));
    assign(student.own, prepared!, 'student.');
    const phi = new Map([...prepared!].flatMap(([n, t]): [string, Tensor][] => (n.startsWith('aggregator.') ? [[n.slice('aggregator.'.length), t]] : [])));
    const theta = extractor(source, student);
    let adapted = false;
    return {
      step(x) {
        if (!adapted) {
          const few = tf.slice(x, [0, 0, 0, 0], [Math.min(support, x.shape[0]), -1, -1, -1]);
          innerStep(student, theta, few, aggregate(phi, expertFeatures(experts, few), heads), innerLr);
          adapted = true;
        }
        return student.logits(x);
      },
      state: () => new Map<string, Tensor>([['adapted', tf.scalar(Number(adapted), 'int32')], ...prefixed('student.', student.own)]),
      restore(state) {
        adapted = state.get('adapted')!.dataSync()[0] === 1;
        assign(student.own, state, 'student.');
      },
      learnt: () => new Map(student.own),
      dispose: () => [student, ...experts].forEach((n) => n.dispose()),
    };
  },
};

export default metaDmoe;
