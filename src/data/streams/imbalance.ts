import type { Rng } from '@graft/kernels/random';
import { byLabel, flat, type StreamSetting } from './stream.js';

const imbalance = { type: 'number', metavar: 'K', describe: 'label-shift: the class of a phase is this many times likelier than another; long-tail: the first class has this many times the rows of the last', default: 10, min: 1 } as const;

/**
 * SAR (Niu et al. 2023): a domain passes in C phases, in random order, one for each class, whose label prior is ir/(ir + C - 1) for
 * that class and 1/(ir + C - 1) for any other. A label is drawn, then one of its rows, with replacement.
 */
export const labelShift: StreamSetting = {
  name: 'label-shift', summary: 'each domain in as many phases as classes, one class prevailing in each; rows drawn with replacement',
  options: { imbalance, samples: { type: 'number', metavar: 'N', describe: 'label-shift: rows drawn of each domain; default: as many as it has', min: 1 } },
  needs: ['label'],
  order: ({ domains, label }, rng, { imbalance: ir, samples }) => flat(domains.map(({ rows }) => {
    const classes = [...byLabel(rows, label!).values()], C = classes.length, T = Number(samples ?? rows.length);
    const phases = rng.permutation(C);
    return Array.from({ length: T }, (_, t) => {
      const own = phases[Math.floor((t * C) / T)];
      const shift = rng.uniform() < Number(ir) / (Number(ir) + C - 1) ? 0 : 1 + rng.integer(C - 1);
      const members = classes[(own + shift) % C];
      return members[rng.integer(members.length)];
    });
  })),
};

/** LSA (Park et al. 2023): class k of C keeps n_max·IF^(-k/(C-1)) of its rows (forward), those of class C - 1 - k (backward), or n_max (uniform). */
export const longTail: StreamSetting = {
  name: 'long-tail', summary: 'each domain with ever fewer rows of the later classes',
  options: { imbalance, direction: { type: 'string', describe: 'long-tail: which classes are frequent: the first, the last, or all alike', default: 'forward', choices: ['forward', 'uniform', 'backward'] } },
  needs: ['label'],
  order: ({ domains, label }, rng, { imbalance: IF, direction }) => flat(domains.map(({ rows }) => {
    const classes = [...byLabel(rows, label!).values()], most = Math.min(...classes.map((c) => c.length));
    const kept = classes.map((members, k) => sample(members, tailSize(most, direction === 'backward' ? classes.length - 1 - k : k, classes.length, direction === 'uniform' ? 1 : Number(IF)), rng));
    return rng.shuffle(kept.flat());
  })),
};

/** n_k, at least 1. */
const tailSize = (most: number, k: number, C: number, IF: number): number => Math.max(1, Math.round(most * IF ** (-k / Math.max(1, C - 1))));

const sample = (members: readonly number[], n: number, rng: Rng): number[] => rng.shuffle([...members]).slice(0, n);
