import { svd } from '@graft/kernels';
import type { OptionValues } from '../options.js';
import { Covariance, MeanMagnitude, metrics, orientedSvd, type Metric } from './covariance.js';
import { balanced, WeightParts, type Weight } from './from-weights.js';
import type { Initialiser } from './initialiser.js';

export interface TruncateConfig extends OptionValues {
  metric: 'plain' | 'asvd' | 'cov';
  damping: number;
  /** α */
  exponent: number;
}

/**
 * A graft that leaves out the r least components of each weight, r being its rank: what the analysis of CorDA (section 3.2) and ASVD
 * (Yuan et al., 2023) compare. Components are those of W (plain), of W D with D = diag(mean|x|^α + 1e-6) of what the module reads (asvd), or of
 * W C' (cov), multiplied back. Merged into the model it is the compressed model.
 */
const truncate: Initialiser<TruncateConfig> = {
  name: 'truncate',
  summary: 'a change that leaves out the least components of each weight, as many as its rank: by the weight, or by what they carry of the data',
  paper: { title: 'CorDA: Context-Oriented Decomposition Adaptation of Large Language Models for Task-Aware Parameter-Efficient Fine-tuning', authors: 'Yang et al.', year: 2024, url: 'https://arxiv.org/abs/2406.05223' },
  options: {
    metric: { type: 'string', default: 'cov', choices: ['plain', 'asvd', 'cov'], describe: 'components of the weight, of the weight times the mean magnitudes of its inputs, or times their covariance' },
    damping: { type: 'number', default: 0.01, min: 1e-9, describe: 'cov: this share of its mean diagonal is added to the covariance' },
    exponent: { type: 'number', default: 0.5, min: 0, describe: 'asvd: power of the mean magnitudes' },
  },
  needsData: ({ metric }) => metric !== 'plain',

  async run(start, { metric, damping, exponent }) {
    const parts = new WeightParts(start, 'truncate');
    const least = ({ m, n, M, r, s }: Weight, by: Metric | null): ReturnType<typeof balanced> => {
      const d = by ? orientedSvd(M, m, n, by) : svd(M, m, n);
      const { A, B } = balanced(d, d.k - r, r, s);
      return { A, B: B.map((v) => -v) };
    };
    if (metric === 'plain') for (const site of parts.sites) parts.place(site, (w) => least(w, null));
    else for await (const [site, by] of metrics(start.data!, 'truncate', parts.sites, (d) => (metric === 'asvd' ? new MeanMagnitude(d, exponent) : new Covariance(d, damping)))) parts.place(site, (w) => least(w, by));
    return parts.graft({ residual: false });
  },
};

export default truncate;
