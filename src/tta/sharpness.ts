import { scoped, sumOfSquares, tf, type Variable } from '@graft/kernels';
import type { Gradients } from './optimiser.js';

/** θ ← θ + ρ g / ‖g‖₂, the norm over all tensors (Foret et al., 2021, equation 2). Returns what takes θ back to the bit. */
export function ascend(params: ReadonlyMap<string, Variable>, grads: Gradients, rho: number): () => void {
  const norm = scoped(() => Math.sqrt(sumOfSquares(grads.values()).dataSync()[0]));
  const before = [...params.values()].map((p) => [p, tf.keep(tf.clone(p))] as const);
  if (norm > 0) for (const [name, g] of grads) tf.tidy(() => params.get(name)!.assign(tf.add(params.get(name)!, tf.mul(g, rho / norm))));
  return () => before.forEach(([p, value]) => {
    p.assign(value);
    value.dispose();
  });
}
