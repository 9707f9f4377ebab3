import { dataError } from '../errors.js';
import { isFloat } from '../formats/dtype.js';
import type { Model } from './model.js';
import type { Headers } from './modules.js';
import type { Site } from './site.js';

/**
 * Whether the tensors the modules own have the shapes that config.json gives them. Those of heads and poolers may be missing: a graft may
 * bring them.
 * @throws GraftError (65) naming the first that does not fit
 */
export function checkWeights(checkpoint: Headers, { sites, parameters }: Pick<Model, 'sites' | 'parameters'>): void {
  for (const { name, shape } of parameters) checkTensor(checkpoint, name, shape);
  for (const site of sites) {
    for (const [name, shape] of owned(site)) {
      if (name === undefined) continue;
      const optional = site.role === 'head' || site.role === 'pooler' || name === site.bias || name.endsWith('.bias');
      if (!optional || checkpoint.has(name)) checkTensor(checkpoint, name, shape);
    }
  }
}

function checkTensor(checkpoint: Headers, name: string, shape: readonly number[]): void {
  if (!checkpoint.has(name)) throw dataError(`${checkpoint.path}: has no tensor '${name}', which its config.json asks for`);
  const found = checkpoint.info(name);
  if (found.shape.join() !== shape.join()) throw dataError(`${checkpoint.path}: '${name}' is [${found.shape}], by its config.json it is [${shape}]`);
  if (!isFloat(found.dtype)) throw dataError(`${checkpoint.path}: '${name}' is ${found.dtype}, weights are F32, F16, BF16 or F64`);
}

function owned(site: Site): [string | undefined, number[]][] {
  const { kind, dimIn, dimOut, weight } = site;
  switch (kind) {
    case 'linear': return [[weight, site.transposed ? [dimIn, dimOut] : [dimOut, dimIn]], [site.bias ?? `${site.name}.bias`, [dimOut]]];
    case 'conv': return [[weight, [dimOut, dimIn, ...site.conv!.kernel]], [site.bias, [dimOut]]];
    case 'embedding': return [[weight, [dimIn, dimOut]]];
    case 'norm': {
      const statistics = site.norm!.type === 'batch' ? ['running_mean', 'running_var'] : [];
      return [weight, site.bias, ...statistics.map((s) => `${site.name}.${s}`)].map((name) => [name, [dimOut]]);
    }
    default: return [];
  }
}
