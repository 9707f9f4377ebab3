import type { Tensor } from '@graft/kernels';
import type { Paper } from '../adapters/method.js';
import type { OptionSpecs, OptionValues } from '../options.js';
import type { Level } from './schedule.js';

/** What all ways of sampling take. */
export const sampling = {
  steps: { type: 'number', metavar: 'N', describe: "steps from noise to image, evenly spread over the times of the model's schedule", default: 50, min: 1 },
  guidance: { type: 'number', metavar: 'G', describe: 'classifier-free guidance: what the condition adds to the prediction counts so many times', default: 1 },
} as const satisfies OptionSpecs;

/** A way down from x_t to the x of the time below: one object in one file. */
export interface Sampler<C extends OptionValues = OptionValues> {
  name: string;
  summary: string;
  paper: Paper | null;
  options: OptionSpecs;
  /**
   * @param x0 the prediction of x_0, cut
   * @param noise draws a standard normal tensor like x, not before it is needed
   */
  step(level: Level, x: Tensor, x0: Tensor, config: C, noise: () => Tensor): Tensor;
}
