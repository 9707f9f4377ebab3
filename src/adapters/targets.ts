import { usageError } from '../errors.js';
import type { Model } from '../models/model.js';
import type { Site } from '../models/site.js';
import type { OptionSpecs, OptionValues } from '../options.js';

/** The options of methods that act on weights, as PEFT has them. */
export const targetOptions = {
  targetModules: { type: 'string', array: true, metavar: 'NAME', describe: 'modules to change: a name or the end of a path; one entry in slashes, /REGEX/, matches whole paths; all-linear means every linear site but the head' },
  excludeModules: { type: 'string', array: true, metavar: 'NAME', describe: 'modules to leave alone, written like --target-modules' },
  layersToTransform: { type: 'number', array: true, metavar: 'N', describe: 'only these blocks' },
} as const satisfies OptionSpecs;

export interface Targets extends OptionValues {
  targetModules?: readonly string[];
  excludeModules?: readonly string[];
  layersToTransform?: readonly number[];
}

const KINDS: readonly Site['kind'][] = ['linear', 'conv', 'embedding'];

/**
 * The sites a configuration names, by PEFT's rules: an entry matches a path that equals it or ends with it after a dot; a regular
 * expression matches whole paths; `all-linear` is every linear site outside the head; exclusions win.
 * @param kinds what the method has a form for
 * @throws GraftError (usage) when nothing matches, or something of another kind
 */
export function targetSites(model: Model, config: Targets, kinds: readonly Site['kind'][] = KINDS): Site[] {
  const targets = config.targetModules?.length ? config.targetModules : model.defaultTargets;
  const wanted = matcher(targets);
  const excluded = matcher(config.excludeModules ?? []);
  const layers = config.layersToTransform ?? [];
  const weights = model.sites.filter((s) => KINDS.includes(s.kind) && s.weight !== undefined);
  const found = weights.filter((s) => {
    if (excluded(s.name) || (layers.length > 0 && !layers.includes(firstNumber(s.name)))) return false;
    return targets.includes('all-linear') ? s.kind === 'linear' && s.role !== 'head' : s.role !== 'head' && wanted(s.name);
  });
  const other = found.find((s) => !kinds.includes(s.kind));
  if (other) throw usageError(`--target-modules: '${other.name}' is of kind ${other.kind}, for which this method has no form (it changes ${kinds.join(' and ')} modules)`);
  if (found.length > 0) return found;
  const ends = [...new Set(weights.filter((s) => s.kind !== 'embedding').map((s) => s.name.split('.').filter((part) => !/^\d+$/.test(part)).slice(-2).join('.')))];
  throw usageError(`--target-modules ${targets.join(',')}: no module of this ${model.type} matches; it has ${ends.slice(0, 8).join(', ')}${ends.length > 8 ? ', …' : ''}`);
}

/** Whether a module path is among those that `--target-modules` entries name. */
export function matcher(entries: readonly string[]): (path: string) => boolean {
  const tests = entries.map((entry) => {
    const regex = /^\/(.*)\/$/s.exec(entry);
    if (!regex) return (path: string) => path === entry || path.endsWith(`.${entry}`);
    const whole = expression(`^(?:${regex[1]})$`, entry);
    return (path: string) => whole.test(path);
  });
  return (path) => tests.some((t) => t(path));
}

/** The first numeric segment of a module path: its block. -1 without one. */
const firstNumber = (path: string): number => Number(path.split('.').find((part) => /^\d+$/.test(part)) ?? -1);

/** The value of the first `KEY=NUMBER` whose key, as a regular expression, is the path or its end. */
export function patternValue(patterns: readonly string[] | undefined, path: string, otherwise: number): number {
  for (const pattern of patterns ?? []) {
    const at = pattern.lastIndexOf('=');
    const value = Number(pattern.slice(at + 1));
    if (at < 1 || pattern.length === at + 1 || !Number.isFinite(value)) throw usageError(`'${pattern}' is not of the form MODULE=NUMBER`);
    if (expression(`^(?:.*\\.)?(?:${pattern.slice(0, at)})$`, pattern).test(path)) return value;
  }
  return otherwise;
}

function expression(source: string, given: string): RegExp {
  try {
    return new RegExp(source, 's');
  } catch (e) {
    throw usageError(`'${given}' is not a regular expression: ${(e as Error).message}`);
  }
}
