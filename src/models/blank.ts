import { Rng } from '@graft/kernels/random';
import { dataError } from '../errors.js';
import type { ModelConfig } from '../formats/checkpoint.js';
import { loadModel } from './registry.js';
import type { Site } from './site.js';

/** A tensor as it starts; its values are drawn anew each time they are asked for. */
export interface BlankTensor { name: string; shape: number[]; readonly values: Float32Array }

/**
 * The tensors of a model that nobody has trained, as its architecture starts: in Transformers dense weights, tables and whatever belongs
 * to no site N(0, initializer_range²), in convolutional networks weights Kaiming-uniform and tables N(0, 1); norms 1 and 0. Image networks have
 * a head where config.json counts classes: one that segments where its class is named so, else a classifier. Causal decoders have their `lm_head`
 * unless it is tied to the word embeddings. Each tensor is drawn from (seed, name).
 */
export async function blankModel(config: ModelConfig, seed: number): Promise<BlankTensor[]> {
  const path = 'config.json';
  const model = await loadModel({ path: '.', config, blank: true, has: () => false, info: (name) => { throw dataError(`${path}: a blank model has no tensor '${name}'`); } });
  const std = Number(config.initializer_range ?? 0.02);
  const kaiming = model.input === 'noise' || !model.sites.some((s) => s.kind === 'attention');
  const tensors = new Map<string, BlankTensor>();
  const fill = (name: string | undefined, shape: number[], draw: (rng: Rng) => number): void => {
    if (name === undefined || tensors.has(name)) return;
    tensors.set(name, {
      name, shape,
      get values() {
        const rng = new Rng('blank', seed, name);
        return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => draw(rng));
      },
    });
  };
  const task = /ForSemanticSegmentation$/.test(String((config.architectures as string[] | undefined)?.[0])) ? 'segment' : undefined;
  const taken = (s: Site): boolean => s.role !== 'head' || (s.dimOut > 0 && (model.input === 'image' ? s.task === task : s.name === 'lm_head'));
  for (const s of model.sites.filter(taken)) {
    const fanIn = s.dimIn * (s.conv ? s.conv.kernel[0] * s.conv.kernel[1] : 1);
    const weight = (rng: Rng): number => (kaiming ? rng.uniform(-1, 1) * Math.sqrt(3 / fanIn) : rng.normal(0, std));
    if (s.kind === 'linear') fill(s.weight, s.transposed ? [s.dimIn, s.dimOut] : [s.dimOut, s.dimIn], weight);
    if (s.kind === 'conv') fill(s.weight, [s.dimOut, s.dimIn, ...s.conv!.kernel], weight);
    if (s.kind === 'embedding') fill(s.weight, [s.dimIn, s.dimOut], kaiming ? (rng) => rng.normal() : weight);
    if (s.kind === 'norm') {
      fill(s.weight, [s.dimOut], () => 1);
      if (s.norm!.type === 'batch') {
        fill(`${s.name}.running_mean`, [s.dimOut], () => 0);
        fill(`${s.name}.running_var`, [s.dimOut], () => 1);
      }
    }
    if (s.kind !== 'embedding') fill(s.bias, [s.dimOut], () => 0);
  }
  for (const { name, shape } of model.parameters) fill(name, shape, (rng) => rng.normal(0, std));
  return [...tensors.values()];
}
