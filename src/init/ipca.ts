import { randomizedSvd, type Svd } from '@graft/kernels';

/**
 * Incremental principal components (Ross et al., 2008, as in scikit-learn): the k leading right singular vectors of all rows seen so
 * far, centred by their mean, without keeping the rows. Exact when k is the dimension; otherwise what a batch leaves beyond k is lost.
 */
export class IncrementalPca {
  /** Rows seen. */
  n = 0;
  private readonly mean: Float64Array;
  private svd: Svd | null = null;
  /** Σ over rows and dimensions of the squared distance from the mean. */
  private scatter = 0;

  /** @param d dimension of a row; @param k components kept, at most d */
  constructor(readonly d: number, readonly k: number) {
    this.mean = new Float64Array(d);
  }

  /** The components [k, d], orthonormal rows, by falling singular value; the entry of largest magnitude in each is positive. */
  get components(): Float64Array {
    return this.svd!.Vt;
  }

  get singularValues(): Float64Array {
    return this.svd!.S;
  }

  /** The share of the total variance along each component. */
  get explainedVarianceRatio(): Float64Array {
    return this.singularValues.map((s) => (this.scatter > 0 ? (s * s) / this.scatter : 0));
  }

  /** Takes m rows in, [m, d] row-major. */
  update(X: Float32Array | Float64Array): void {
    const { d, n } = this;
    const m = X.length / d;
    const mean = columnMeans(X, m, d);
    const kept = this.svd?.S.length ?? 0;
    // [diag(S)Vᵀ ; X − x̄ ; √(nm/(n+m)) (μ − x̄)]
    const rows = kept + m + (n > 0 ? 1 : 0);
    const stack = new Float64Array(rows * d);
    for (let i = 0; i < kept; i++) for (let j = 0; j < d; j++) stack[i * d + j] = this.svd!.S[i] * this.svd!.Vt[i * d + j];
    const tail = kept * d;
    for (let i = 0; i < m; i++) for (let j = 0; j < d; j++) stack[tail + i * d + j] = X[i * d + j] - mean[j];
    const weight = Math.sqrt((n * m) / (n + m));
    if (n > 0) for (let j = 0; j < d; j++) stack[tail + m * d + j] = weight * (this.mean[j] - mean[j]);
    for (let i = tail; i < stack.length; i++) this.scatter += stack[i] * stack[i];
    for (let j = 0; j < d; j++) this.mean[j] += (mean[j] - this.mean[j]) * (m / (n + m));
    this.n += m;
    this.svd = randomizedSvd(stack, rows, d, Math.min(this.k, rows));
  }
}

function columnMeans(X: Float32Array | Float64Array, m: number, d: number): Float64Array {
  const mean = new Float64Array(d);
  for (let i = 0; i < m; i++) for (let j = 0; j < d; j++) mean[j] += X[i * d + j];
  return mean.map((v) => v / m);
}
