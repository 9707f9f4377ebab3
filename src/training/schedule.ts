import { usageError } from '../errors.js';

export interface ScheduleOptions {
  kind: ScheduleKind;
  /** Steps (1 and above) or a share of all steps (below 1, rounded up) over which the rate rises from 0. */
  warmup: number;
  totalSteps: number;
  /** The peak learning rate. */
  lr: number;
  /** `polynomial`: where the rate ends, and its exponent. */
  lrEnd?: number;
  power?: number;
}

export type ScheduleKind = 'constant' | 'linear' | 'cosine' | 'polynomial';

/** The factor of the peak rate after warm-up, from the step, the warm-up's length and the schedule (transformers' get_scheduler). */
const DECAY: Record<ScheduleKind, (step: number, warmup: number, o: ScheduleOptions) => number> = {
  constant: () => 1,
  linear: (step, warmup, o) => Math.max(0, (o.totalSteps - step) / Math.max(1, o.totalSteps - warmup)),
  cosine: (step, warmup, o) => Math.max(0, 0.5 * (1 + Math.cos(Math.PI * ((step - warmup) / Math.max(1, o.totalSteps - warmup))))),
  polynomial: (step, warmup, { totalSteps, lr, lrEnd = 1e-7, power = 1 }) => {
    if (step > totalSteps) return lrEnd / lr;
    const remaining = 1 - (step - warmup) / (totalSteps - warmup);
    return ((lr - lrEnd) * remaining ** power + lrEnd) / lr;
  },
};

export const SCHEDULES = Object.keys(DECAY) as ScheduleKind[];

/** Number of warm-up steps. */
export const warmupSteps = (o: Pick<ScheduleOptions, 'warmup' | 'totalSteps'>): number =>
  o.warmup < 1 ? Math.ceil(o.warmup * o.totalSteps) : Math.round(o.warmup);

/**
 * Learning rate as a function of the step, 0 at the first: the formulas of `transformers.get_scheduler`. With `since` it runs from
 * that step on, warm-up as long as ever, to the same end.
 */
export function schedule(o: ScheduleOptions): (step: number, since?: number) => number {
  if (o.kind === 'polynomial' && (o.lrEnd ?? 1e-7) >= o.lr) throw usageError(`--lr-end ${o.lrEnd} must lie below --lr ${o.lr}`);
  const warmup = warmupSteps(o);
  const decay = DECAY[o.kind];
  return (now, since = 0) => {
    const step = now - since;
    return o.lr * (step < warmup ? step / Math.max(1, warmup) : decay(step, warmup, { ...o, totalSteps: o.totalSteps - since }));
  };
}
