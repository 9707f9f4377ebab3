import { matMulDouble, svd, symmetricEigen, type Svd } from '@graft/kernels';
import { dataError, usageError } from '../errors.js';
import type { Site } from '../models/site.js';
import { statistics, type Data, type Statistic } from './collect.js';

/** A matrix M [d, d] that says what counts of a module's inputs, and its inverse. */
export interface Metric { M: Float64Array; inverse: Float64Array }

/** A statistic that gives one. */
export interface MetricStatistic extends Statistic { metric(site: Pick<Site, 'name'>): Metric }

/**
 * C = 1/N Σ XᵀX over N examples, each X [tokens, d] divided by |its largest entry| (CorDA, section 3.1): what a module reads on the data,
 * [d, d] whatever the data's size. Its metric is C' = C + δ·mean(diag C)·I.
 */
export class Covariance implements MetricStatistic {
  private examples = 0;
  private readonly sum: Float64Array;

  constructor(private readonly d: number, private readonly delta: number) {
    this.sum = new Float64Array(d * d);
  }

  update(X: Float32Array, lengths: readonly number[]): void {
    const { d, sum } = this;
    const scaled = new Float64Array(X.length);
    let from = 0;
    for (const length of lengths) {
      const to = from + length * d;
      let largest = -Infinity;
      for (let i = from; i < to; i++) largest = Math.max(largest, X[i]);
      const scale = Math.abs(largest) || 1;
      for (let i = from; i < to; i++) scaled[i] = X[i] / scale;
      from = to;
      if (length > 0) this.examples++;
    }
    const product = matMulDouble(scaled, scaled, d, X.length / d, d, true);
    for (let i = 0; i < sum.length; i++) sum[i] += product[i];
  }

  /** C [d, d], symmetric. */
  get matrix(): Float64Array {
    return this.sum.map((v) => v / this.examples);
  }

  /**
   * The published code doubles δ until ‖C'C'⁻¹ − I‖ < 0.05, which its single precision may need; in double precision, C' being conditioned no
   * worse than 1 + d/δ, the first δ always does.
   * @throws GraftError (65) where the module reads nothing but zeros
   */
  metric(site: Pick<Site, 'name'>): Metric {
    const { d, delta, matrix } = this;
    let trace = 0;
    for (let i = 0; i < d; i++) trace += matrix[i * d + i];
    if (!(trace > 0)) throw dataError(`${site.name} reads nothing but zeros on this data: no covariance to decompose`);
    const { values, vectors } = symmetricEigen(matrix, d);
    const lambda = values.map((v) => Math.max(v, 0) + (delta * trace) / d);
    const spread = (f: (x: number) => number): Float64Array => matMulDouble(vectors.map((v, i) => v * f(lambda[Math.floor(i / d)])), vectors, d, d, d, true);
    return { M: spread((x) => x), inverse: spread((x) => 1 / x) };
  }
}

/** D = diag(mean|x|^α + 1e-6) (ASVD: Yuan et al., 2023). */
export class MeanMagnitude implements MetricStatistic {
  private rows = 0;
  private readonly sum: Float64Array;

  constructor(private readonly d: number, private readonly exponent: number) {
    this.sum = new Float64Array(d);
  }

  update(X: Float32Array): void {
    for (let i = 0; i < X.length; i++) this.sum[i % this.d] += Math.abs(X[i]);
    this.rows += X.length / this.d;
  }

  metric(): Metric {
    const D = this.sum.map((v) => (v / this.rows) ** this.exponent + 1e-6);
    const diagonal = (f: (x: number) => number): Float64Array => Float64Array.from({ length: this.d ** 2 }, (_, i) => (i % (this.d + 1) === 0 ? f(D[i % this.d]) : 0));
    return { M: diagonal((x) => x), inverse: diagonal((x) => 1 / x) };
  }
}

/**
 * W M = U S Vᵀ and V̂ᵀ = Vᵀ M⁻¹, so that U S V̂ᵀ = W: components of W [m, n] in the order of what they carry of the data that M stands for.
 * `Vt` of the result is V̂ᵀ, whose rows are not orthonormal.
 */
export function orientedSvd(W: Float32Array, m: number, n: number, { M, inverse }: Metric, decompose: (a: Float64Array) => Svd = (a) => svd(a, m, n)): Svd {
  const whole = decompose(matMulDouble(W, M, m, n, n));
  return { ...whole, Vt: matMulDouble(whole.Vt, inverse, whole.k, n, n) };
}

/** What a part of a weight is taken by: hands over each site with the metric of what it reads, statistics being gathered a memory's worth at a time. */
export async function* metrics(data: Data, name: string, sites: readonly Site[], make: (d: number) => MetricStatistic): AsyncGenerator<[Site, Metric]> {
  const other = sites.find((s) => s.kind !== 'linear');
  if (other) throw usageError(`${name} by what modules read is for linear ones; ${other.name} is of kind ${other.kind}`);
  for await (const { sites: same, statistic } of statistics(data, sites, (b) => b.tokens, make, (d) => 8 * d * d)) {
    const metric = statistic.metric(same[0]);
    for (const site of same) yield [site, metric];
  }
}
