import type { Activation } from '@graft/kernels';
import { dataError } from '../errors.js';
import type { Headers } from './modules.js';

/** A number of config.json. @throws GraftError (65) when it is missing and has no default. */
export function count({ config, path }: Headers, key: string, otherwise?: number): number {
  const value = config[key] ?? otherwise;
  if (typeof value !== 'number') throw dataError(`${path}/config.json: ${config.model_type} needs a number '${key}'`);
  return value;
}

/** A rate of dropout that config.json gives under `key`; `otherwise` is what transformers assumes. @throws GraftError (65) outside [0, 1] */
export function dropoutRate(checkpoint: Headers, key: string, otherwise: number): number {
  const rate = count(checkpoint, key, otherwise);
  if (!(rate >= 0 && rate <= 1)) throw dataError(`${checkpoint.path}/config.json: ${key} is ${rate}, not a rate between 0 and 1`);
  return rate;
}

const ACTIVATIONS: Record<string, Activation> = {
  relu: 'relu', gelu: 'gelu', gelu_new: 'gelu_new', gelu_pytorch_tanh: 'gelu_new', silu: 'silu', swish: 'silu', tanh: 'tanh', sigmoid: 'sigmoid',
};

/** The activation config.json names under `key`. */
export function activationOf({ config, path }: Headers, key: string, otherwise: string): Activation {
  const name = String(config[key] ?? otherwise);
  if (!(name in ACTIVATIONS)) throw dataError(`${path}/config.json: activation '${name}' is not known: one of ${Object.keys(ACTIVATIONS).join(', ')}`);
  return ACTIVATIONS[name];
}
