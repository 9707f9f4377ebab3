import type { Paper } from '../adapters/method.js';
import { usageError } from '../errors.js';
import type { OptionSpecs } from '../options.js';
import type { TtaMethod } from './method.js';

/** Something published that goes around any method of test-time adaptation. */
export interface Wrapper {
  name: string;
  summary: string;
  paper: Paper | null;
  options: OptionSpecs;
  /** The method with this around it; its options are both's. */
  wrap(method: TtaMethod): TtaMethod;
}

/** One line a wrapper. */
const WRAPPERS: Record<string, () => Promise<{ default: Wrapper }>> = {
  'label-shift': () => import('./label-shift.js'),
};

export const wrapperNames = (): string[] => Object.keys(WRAPPERS);

/** @throws GraftError (usage) for an unknown name. */
export async function loadWrapper(name: string): Promise<Wrapper> {
  if (!Object.hasOwn(WRAPPERS, name)) throw usageError(`unknown wrapper '${name}': one of ${wrapperNames().join(', ')}`);
  return (await WRAPPERS[name]()).default;
}
