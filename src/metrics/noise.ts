import type { Metric, NoisePrediction } from './metric.js';

/** What the objective diffusion minimises. */
export const noiseMse: Metric = {
  name: 'noise-mse', summary: 'mean squared error of the noise that a diffusion model predicts', kind: 'noise', size: () => 2,
  add: (row, sums, weight) => {
    sums[0] += weight * (row as NoisePrediction).mse;
    sums[1] += weight;
  },
  value: ([sum, count]) => sum / count,
};
