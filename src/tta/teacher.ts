import { tf, type Rng, type Tensor, type Variable } from '@graft/kernels';

/** θ′ ← α θ′ + (1 - α) θ. */
export function movingAverage(teacher: ReadonlyMap<string, Variable>, student: ReadonlyMap<string, Variable>, alpha: number): void {
  for (const [name, t] of teacher) tf.tidy(() => t.assign(tf.add(tf.mul(t, alpha), tf.mul(student.get(name)!, 1 - alpha))));
}

/** m ~ Bernoulli(p); θ ← m ⊙ θ₀ + (1 - m) ⊙ θ. */
export function stochasticRestore(theta: Variable, theta0: Tensor, p: number, rng: Rng): void {
  tf.tidy(() => {
    const m = tf.tensor(Float32Array.from({ length: theta.size }, () => (rng.uniform() < p ? 1 : 0)), theta.shape);
    theta.assign(tf.add(tf.mul(m, theta0), tf.mul(tf.sub(1, m), theta)));
  });
}
