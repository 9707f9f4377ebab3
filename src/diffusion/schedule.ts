import { basename } from 'node:path';
import { dataError, usageError } from '../errors.js';
import { readJson, type Checkpoint } from '../formats/checkpoint.js';

/** A step of a sampler: from the time `t`, where ᾱ_t is `alpha`, to the one below, where it is `before`; 1 below the last. */
export interface Level { t: number; alpha: number; before: number; last: boolean }

/** How images turn into noise: x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε at the times 0 … T-1, and how predictions of x_0 are cut. */
export interface Schedule {
  /** ᾱ_t */
  alphas: Float64Array;
  /** Predictions of x_0 are cut to ± this; Infinity: not at all. */
  clip: number;
}

/**
 * The schedule that diffusers' scheduler_config.json beside the weights says, or config.json: num_train_timesteps, beta_schedule, beta_start,
 * beta_end, clip_sample, clip_sample_range.
 * @throws GraftError (65) for one that is not known
 */
export function noiseSchedule({ path, files, config }: Pick<Checkpoint, 'path' | 'files' | 'config'>): Schedule {
  const file = files.find((f) => basename(f) === 'scheduler_config.json');
  const given: Record<string, unknown> = { ...config, ...(file ? readJson(file) : {}) };
  const bad = (key: string, why: string): Error => dataError(`${file ?? `${path}/config.json`}: '${key}' is ${JSON.stringify(given[key])}, ${why}`);
  const number = (key: string, otherwise: number, least: number, most: number): number => {
    const value = given[key] ?? otherwise;
    if (typeof value !== 'number' || !(value >= least && value <= most)) throw bad(key, `it must be a number from ${least} to ${most}`);
    return value;
  };
  if ((given.prediction_type ?? 'epsilon') !== 'epsilon') throw bad('prediction_type', 'only networks that predict the noise (epsilon) are run');
  const T = number('num_train_timesteps', 1000, 1, 1e6), name = String(given.beta_schedule ?? 'linear');
  if (!Number.isInteger(T)) throw bad('num_train_timesteps', 'it must be a whole number');
  if (!Object.hasOwn(BETAS, name)) throw bad('beta_schedule', `it must be one of ${Object.keys(BETAS).join(', ')}`);
  const betas = BETAS[name](T, number('beta_start', 1e-4, 0, 1), number('beta_end', 0.02, 0, 1));
  let product = 1;
  return { alphas: Float64Array.from(betas, (beta) => (product *= 1 - beta)), clip: given.clip_sample === false ? Infinity : number('clip_sample_range', 1, 0, 1e9) };
}

/** β_t of T times, by diffusers' names of the schedules. */
const BETAS: Record<string, (T: number, first: number, last: number) => number[]> = {
  /** Ho et al. (2020), section 4. */
  linear: (T, first, last) => times(T, (i) => first + ((last - first) * i) / Math.max(1, T - 1)),
  /** Linear in √β: latent diffusion. */
  scaled_linear: (T, first, last) => times(T, (i) => (Math.sqrt(first) + ((Math.sqrt(last) - Math.sqrt(first)) * i) / Math.max(1, T - 1)) ** 2),
  /** ᾱ as a squared cosine (Nichol & Dhariwal, 2021, eq. 17), β at most 0.999. */
  squaredcos_cap_v2(T) {
    const bar = (x: number): number => Math.cos(((x + 0.008) / 1.008) * (Math.PI / 2)) ** 2;
    return times(T, (i) => Math.min(0.999, 1 - bar((i + 1) / T) / bar(i / T)));
  },
};

const times = (T: number, f: (i: number) => number): number[] => Array.from({ length: T }, (_, i) => f(i));

/**
 * The levels of a sampler of so many steps, lowest first: the times 0, r, 2r … with r = ⌊T / steps⌋ (diffusers' spacing `leading`).
 * @throws GraftError (usage) for more steps than there are times
 */
export function levels({ alphas }: Schedule, steps: number): Level[] {
  if (!Number.isInteger(steps) || steps < 1 || steps > alphas.length) throw usageError(`--steps ${steps}: it must be a whole number from 1 to ${alphas.length}, the times of the model's schedule`);
  const ratio = Math.floor(alphas.length / steps);
  return Array.from({ length: steps }, (_, i) => ({ t: i * ratio, alpha: alphas[i * ratio], before: i === 0 ? 1 : alphas[(i - 1) * ratio], last: i === 0 }));
}
