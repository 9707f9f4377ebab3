import { Rng } from '@graft/kernels/random';
import type { LabelSet, Metric, Prediction } from './metric.js';

/** `unknown` of its n rows are of classes the model does not know. */
interface Group { n: number; unknown: number; sums: Float64Array[]; replicates: Float64Array[][] }

/** One measured value. */
export interface Measured { metric: string; value: number | number[][]; n: number; group?: string; low?: number; high?: number }

/**
 * Measures a stream of predictions, over all rows and by group. With `replicates` each value gets a 95 % interval by the
 * Poisson bootstrap: every row enters each replicate with a Poisson(1) weight, the streaming form of resampling rows.
 */
export class Meter {
  private readonly groups = new Map<string, Group>();
  private readonly rng: Rng;

  constructor(private readonly metrics: readonly Metric[], private readonly labels: LabelSet, private readonly replicates = 0, seed = 0) {
    this.rng = new Rng('bootstrap', seed);
  }

  add(row: Prediction): void {
    const unknown = row.kind === 'class' && row.unknown === true, enter = (into: Float64Array[], weight: number): void =>
      this.metrics.forEach((m, i) => { if (!unknown || m.openSet) m.add(row, into[i], weight, this.labels); });
    const weights = Array.from({ length: this.replicates }, () => poisson1(this.rng));
    for (const name of row.group === '' ? [''] : ['', row.group]) {
      const group = this.group(name);
      group.n++;
      if (unknown) group.unknown++;
      enter(group.sums, 1);
      weights.forEach((w, r) => { if (w > 0) enter(group.replicates[r], w); });
    }
  }

  /** Values over everything first, then by group in order of appearance, then the unweighted mean over groups. */
  results(): Measured[] {
    const all = [...this.groups].flatMap(([name, { n, unknown, sums, replicates }]) => this.metrics.map((m, i) => ({
      metric: m.name, ...(name === '' ? {} : { group: name }), value: m.value(sums[i], this.labels), n: m.openSet ? n : n - unknown,
      ...interval(replicates.map((r) => m.value(r[i], this.labels))),
    })));
    return [...all, ...this.means(all)];
  }

  private means(all: Measured[]): Measured[] {
    if (this.groups.size < 2) return [];
    return this.metrics.flatMap((m) => {
      const grouped = all.filter((r) => r.metric === m.name && r.group !== undefined);
      const values = grouped.map((r) => r.value);
      if (!values.every((v) => typeof v === 'number')) return [];
      return [{ metric: m.name, group: 'mean', value: values.reduce((a, b) => a + b, 0) / values.length, n: grouped.length }];
    });
  }

  private group(name: string): Group {
    const zeros = (): Float64Array[] => this.metrics.map((m) => new Float64Array(m.size(this.labels)));
    let group = this.groups.get(name);
    if (!group) this.groups.set(name, (group = { n: 0, unknown: 0, sums: zeros(), replicates: Array.from({ length: this.replicates }, zeros) }));
    return group;
  }
}

/** Knuth's product of uniforms. */
function poisson1(rng: Rng): number {
  let k = 0;
  for (let p = rng.uniform(); p > Math.exp(-1); p *= rng.uniform()) k++;
  return k;
}

function interval(values: (number | number[][])[]): { low?: number; high?: number } {
  const finite = values.filter((v): v is number => typeof v === 'number' && Number.isFinite(v)).sort((a, b) => a - b);
  if (finite.length === 0) return {};
  const at = (q: number): number => finite[Math.round(q * (finite.length - 1))];
  return { low: at(0.025), high: at(0.975) };
}
