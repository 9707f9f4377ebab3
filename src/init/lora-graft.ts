import { defaults } from '../adapters/instantiate.js';
import lora, { type LoraConfig } from '../adapters/lora.js';
import { targetSites } from '../adapters/targets.js';
import { usageError } from '../errors.js';
import { bytesOf } from '../formats/dtype.js';
import type { Graft, StoredTensor } from '../formats/graft.js';
import type { Model } from '../models/model.js';
import type { Site } from '../models/site.js';

/** The configuration and sites of a LoRA graft in the state it was made in. @throws GraftError (usage) for any other */
export function freshLora(graft: Graft, model: Model, initialiser: string): { config: LoraConfig; sites: Site[] } {
  if (graft.method !== 'lora') throw usageError(`${initialiser} starts lora grafts; this one is ${graft.method}`);
  const config = { ...defaults(lora.options), ...graft.config } as LoraConfig;
  if (config.residual) throw usageError(`this graft was already started from the weights (pissa, olora, corda); make a new one with graft init-adapter`);
  return { config, sites: targetSites(model, config) };
}

export function stored(values: Float64Array | Float32Array, shape: number[]): StoredTensor {
  return { dtype: 'F32', shape, data: bytesOf(Float32Array.from(values)) };
}
