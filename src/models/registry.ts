import { dataError, GraftError } from '../errors.js';
import type { Checkpoint } from '../formats/checkpoint.js';
import type { Model } from './model.js';

/** Architectures by `model_type` of config.json. */
const ARCHITECTURES: Record<string, (c: Checkpoint) => Promise<Model>> = {
  bert: async (c) => new (await import('./bert.js')).Bert(c),
  roberta: async (c) => new (await import('./bert.js')).Bert(c),
  'xlm-roberta': async (c) => new (await import('./bert.js')).Bert(c),
  'resnet-cifar': async (c) => new (await import('./resnet-cifar.js')).ResNetCifar(c),
};

/** The architecture of a checkpoint. @throws GraftError (65) for an unknown or incomplete one */
export async function loadModel(checkpoint: Checkpoint): Promise<Model> {
  const { model_type: type } = checkpoint.config;
  const make = Object.hasOwn(ARCHITECTURES, type) ? ARCHITECTURES[type] : undefined;
  if (!make) throw dataError(`${checkpoint.path}: unknown architecture '${type}'; graft knows ${Object.keys(ARCHITECTURES).join(', ')}`);
  try {
    return await make(checkpoint);
  } catch (e) {
    if (e instanceof GraftError) throw e;
    throw dataError(`${checkpoint.path}: ${(e as Error).message}`, e);
  }
}
