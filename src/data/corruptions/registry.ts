import { usageError } from '../../errors.js';
import { defocusBlur, gaussianBlurCorruption, glassBlur, motionBlur, zoomBlur } from './blur.js';
import { brightness, contrast, saturate } from './colour.js';
import type { Corruption } from './corruption.js';
import { jpegCompression, pixelate } from './digital.js';
import { elasticTransform } from './elastic.js';
import { fixedPattern, gaussianNoise, impulseNoise, shotNoise, speckleNoise } from './noise.js';
import { fog, frost, snow } from './weather.js';

/** The fifteen of the benchmark, in its order. */
export const STANDARD: readonly Corruption[] = [
  gaussianNoise, shotNoise, impulseNoise, defocusBlur, glassBlur, motionBlur, zoomBlur, snow, frost, fog,
  brightness, contrast, elasticTransform, pixelate, jpegCompression,
];

/** Hold-outs, for choosing hyper-parameters only. */
const HOLD_OUT: readonly Corruption[] = [speckleNoise, gaussianBlurCorruption, saturate];

const ALL = [...STANDARD, ...HOLD_OUT, fixedPattern];

/** Set names for `--kind`. */
const SETS: Record<string, readonly Corruption[]> = { standard15: STANDARD, 'hold-out': HOLD_OUT, all: [...STANDARD, ...HOLD_OUT] };

export const kindNames = (): string[] => [...Object.keys(SETS), ...ALL.map((c) => c.name)];

/**
 * @param kinds names, abbreviations or sets, separated by commas
 * @throws GraftError (usage) for an unknown name
 */
export function corruptionsOf(kinds: string): Corruption[] {
  return kinds.split(',').flatMap((kind) => {
    if (SETS[kind]) return [...SETS[kind]];
    const found = ALL.find((c) => c.name === kind || c.abbreviation === kind);
    if (!found) throw usageError(`unknown corruption '${kind}': one of ${kindNames().join(', ')}`);
    return [found];
  });
}

/** `5`, `1,3,5` or `1-5`. @throws GraftError (usage) */
export function parseSeverities(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const [, low, high] = /^([1-5])(?:-([1-5]))?$/.exec(part) ?? [];
    if (!low) throw usageError(`--severity ${text}: write numbers 1 to 5, as 5, 1,3,5 or 1-5`);
    return Array.from({ length: Math.max(0, Number(high ?? low) - Number(low) + 1) }, (_, i) => Number(low) + i);
  });
}
