import { unchanging } from './learner.js';
import type { TtaMethod } from './method.js';
import { mixed } from './statistics.js';

/** The share α of the stored statistics, as an option. */
export const alphaOption = (alpha: number) => ({ type: 'number', describe: 'share of the stored statistics; the rest is the batch\'s', default: alpha, min: 0, max: 1 }) as const;

/** α-BN (You et al., 2021): normalisation with a mixture of stored and batch statistics. Nothing is trained and nothing kept. */
const alphaBn: TtaMethod<{ alphaSource: number; prior?: number }> = {
  name: 'alpha-bn',
  summary: 'normalisation with a mixture of stored and batch statistics',
  dense: true,
  paper: { title: 'Test-time Batch Statistics Calibration for Covariate Shift', authors: 'You, Li, Zhao', year: 2021, url: 'https://arxiv.org/abs/2110.04065' },
  options: {
    alphaSource: alphaOption(0.9),
    prior: { type: 'number', metavar: 'N', describe: 'the stored statistics count as N images: N/(N + batch) instead of --alpha-source', min: 0 },
  },
  start(source, { alphaSource, prior }) {
    const network = source.copy([], mixed(alphaSource));
    return unchanging(network, (x) => (prior === undefined ? network : network.under(mixed(prior / (prior + x.shape[0])))).logits(x));
  },
};

export default alphaBn;
