import type { Activation } from '@graft/kernels';
import { dataError } from '../errors.js';
import type { Headers } from './modules.js';

/** A size in config.json: a whole number. @throws GraftError (65) when it is missing and has no default, or out of range */
export function count({ config, path }: Headers, key: string, otherwise?: number, [least, most]: readonly [number, number] = [1, 2 ** 28]): number {
  const value = config[key] ?? otherwise;
  if (typeof value !== 'number') throw dataError(`${path}/config.json: ${config.model_type} needs a number '${key}'`);
  if (!Number.isInteger(value) || value < least || value > most) throw dataError(`${path}/config.json: '${key}' is ${value}, it must be a whole number from ${least} to ${most}`);
  return value;
}

/** How often a block is repeated: no model has more, and each takes time to lay out. */
export const layerCount = (headers: Headers, key: string): number => count(headers, key, undefined, [1, 10_000]);

/** A number of config.json that is no size: ε, a standard deviation, a base of angles. @throws GraftError (65) below 0 */
export function real({ config, path }: Headers, key: string, otherwise: number): number {
  const value = config[key] ?? otherwise;
  if (typeof value !== 'number' || !(value >= 0 && value < Infinity)) throw dataError(`${path}/config.json: '${key}' is ${JSON.stringify(value)}, it must be a number of 0 or more`);
  return value;
}

/** A list of whole numbers in config.json, each at least 1. */
export function counts({ config, path }: Headers, key: string, otherwise: readonly number[], most: number): readonly number[] {
  const value = config[key] ?? otherwise;
  if (!Array.isArray(value) || value.length === 0 || value.length > 64 || !value.every((n) => Number.isInteger(n) && n >= 1 && n <= most)) throw dataError(`${path}/config.json: '${key}' is ${JSON.stringify(value)}, it must be a list of whole numbers from 1 to ${most}`);
  return value as number[];
}

/** A rate of dropout that config.json gives under `key`; `otherwise` is what transformers assumes. @throws GraftError (65) outside [0, 1] */
export function dropoutRate(checkpoint: Headers, key: string, otherwise: number): number {
  const rate = real(checkpoint, key, otherwise);
  if (!(rate >= 0 && rate <= 1)) throw dataError(`${checkpoint.path}/config.json: ${key} is ${rate}, not a rate between 0 and 1`);
  return rate;
}

const ACTIVATIONS: Record<string, Activation> = {
  relu: 'relu', gelu: 'gelu', gelu_new: 'gelu_new', gelu_pytorch_tanh: 'gelu_new', silu: 'silu', swish: 'silu', tanh: 'tanh', sigmoid: 'sigmoid',
};

/** The activation config.json names under `key`. */
export function activationOf({ config, path }: Headers, key: string, otherwise: string): Activation {
  const name = String(config[key] ?? otherwise);
  if (!Object.hasOwn(ACTIVATIONS, name)) throw dataError(`${path}/config.json: activation '${name}' is not known: one of ${Object.keys(ACTIVATIONS).join(', ')}`);
  return ACTIVATIONS[name];
}
