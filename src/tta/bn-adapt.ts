import { unchanging } from './learner.js';
import type { TtaMethod } from './method.js';
import { BATCH } from './statistics.js';

/** Batch normalisation with the statistics of the test batch; nothing is trained and nothing kept between batches. */
const bnAdapt: TtaMethod = {
  name: 'bn-adapt',
  summary: 'batch normalisation with the statistics of the test batch',
  dense: true,
  paper: {
    title: 'Improving robustness against common corruptions by covariate shift adaptation',
    authors: 'Schneider, Rusak, Eck, Bringmann, Brendel, Bethge', year: 2020, url: 'https://arxiv.org/abs/2006.16971',
  },
  options: {},
  start: (source) => unchanging(source.copy([], BATCH)),
};

export default bnAdapt;
