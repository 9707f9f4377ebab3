import { Rng, tf, type Tensor, type Tensor2D } from '@graft/kernels';
import { asMatrix, asStored, runLowRank } from '../adapters/low-rank.js';
import type { Model } from '../models/model.js';
import type { Site } from '../models/site.js';
import type { Source } from './network.js';

/** λ_l and λ_h, how much of each adapter acts. */
export interface Allotment { low: number; high: number }

/** Homeostatic knowledge allotment (§3.3): the high-rank adapter counts more where the teacher is uncertain, u ≥ Θ, else the low-rank one. */
export const allotment = (u: number, threshold: number): Allotment => (u >= threshold ? { low: 1 - u, high: 1 + u } : { low: 1 + u, high: 1 - u });

/** The tensors of both adapters of a site. */
const names = (site: Site): string[] => ['low.down', 'low.up', 'high.down', 'high.up'].map((n) => `${site.name}.vida.${n}`);
/** The tensor is an adapter's. */
export const isVida = (name: string): boolean => /\.vida\.(?:low|high)\.(?:down|up)$/.test(name);

/** Where the adapters act: at the dense layers of attention, or at convolutions where there is none. */
export function vidaSites({ sites }: Model): Site[] {
  const attention = sites.filter((s) => s.kind === 'linear' && ['query', 'key', 'value', 'output'].includes(s.role));
  return attention.length > 0 ? attention : sites.filter((s) => s.kind === 'conv' && s.role !== 'head');
}

/** The model with the adapters, which its copies own, at work. */
export const withAdapters = (source: Source, scales: Allotment): Source => source.with({
  name: 'vida', summary: '', paper: null, options: {}, params: () => [], sites: vidaSites,
  change(call) {
    const { A, B } = joined(names(call.site).map((n) => call.pass.weight(n) as Tensor2D), scales);
    return runLowRank(call, { A, B, scale: 1 }, 0);
  },
});

/** Both adapters of a site as one low-rank change: ΔW = B A. */
const joined = ([lowDown, lowUp, highDown, highUp]: Tensor2D[], { low, high }: Allotment): { A: Tensor2D; B: Tensor2D } =>
  ({ A: tf.concat([lowDown, highDown], 0), B: tf.concat([tf.mul(lowUp, low), tf.mul(highUp, high)], 1) as Tensor2D });

/** The weights of a copy with both adapters merged in. */
export function merged(model: Model, own: ReadonlyMap<string, Tensor>, scales: Allotment): Map<string, Tensor> {
  const weights = new Map([...own].filter(([name]) => !isVida(name)));
  for (const site of vidaSites(model)) {
    const { A, B } = joined(names(site).map((n) => own.get(n) as Tensor2D), scales), W = own.get(site.weight!)!;
    weights.set(site.weight!, asStored(site, tf.add(asMatrix(site, W), tf.matMul(B, A))));
  }
  return weights;
}

/** Adapters that do nothing yet, D ~ N(0, (1/r²)²) and U = 0, by name. D: [r, inputs of the site's matrix]; U: [outputs, r]. */
export function adapters({ model }: Source, { low, high }: { low: number; high: number }, seed: number): Map<string, Tensor> {
  return new Map(vidaSites(model).flatMap((site) => {
    const inputs = site.dimIn * (site.conv?.kernel.reduce((a, b) => a * b) ?? 1), [lowDown, lowUp, highDown, highUp] = names(site);
    const down = (name: string, r: number): [string, Tensor] => {
      const rng = new Rng('vida', seed, name);
      return [name, tf.tensor2d(Float32Array.from({ length: r * inputs }, () => rng.normal(0, r ** -2)), [r, inputs])];
    };
    return [down(lowDown, low), [lowUp, tf.zeros([site.dimOut, low])], down(highDown, high), [highUp, tf.zeros([site.dimOut, high])]] as [string, Tensor][];
  }));
}
