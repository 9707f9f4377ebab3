import { usageError } from './errors.js';

/** What can be named on the command line, a line each, in modules that are loaded when they are asked for. */
export interface Registry<T> {
  names(): string[];
  /** @throws GraftError (usage) for an unknown name. */
  load(name: string): Promise<T>;
}

/** @param kind what a name is of, as messages say it: method, sampler */
export function registry<T>(kind: string, modules: Record<string, () => Promise<{ default: T }>>): Registry<T> {
  const names = (): string[] => Object.keys(modules);
  return {
    names,
    async load(name) {
      if (!Object.hasOwn(modules, name)) throw usageError(`unknown ${kind} '${name}': one of ${names().join(', ')}`);
      return (await modules[name]()).default;
    },
  };
}
