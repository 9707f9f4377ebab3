import { Rng } from '@graft/kernels/random';
import { appendFileSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { GraftError } from '../../src/errors.js';
import { mutate } from './mutate.js';
import { READERS, type Seed } from './readers.js';

/** What the parent hands to a child. */
export interface Task {
  /** By name, in order, and how many inputs each gets. */
  readers: [string, number][];
  seed: number;
  from: number;
  to: number;
  folder: string;
  findings: string;
  progress: string;
  /** MiB that one input may add to the most the process ever held. */
  most: number;
}

/** What was found wrong, with all that is needed to make it again. */
export interface Finding { reader: string; seed: number; index: number; kind: 'error' | 'message' | 'memory' | 'hang' | 'crash'; message: string }

const STATUSES = [64, 65, 66, 74];

/** Why what a reader threw is not what it should throw; null where it is. */
export function fault(thrown: unknown): Pick<Finding, 'kind' | 'message'> | null {
  if (!(thrown instanceof GraftError)) return { kind: 'error', message: thrown instanceof Error ? `${thrown.message}\n${String(thrown.stack).split('\n').slice(1, 6).join('\n')}` : String(thrown) };
  const odd = !STATUSES.includes(thrown.status) ? `status ${thrown.status}` : /[\u0000-\u001f\u007f]/.test(thrown.message) ? 'more than a line' : thrown.message.length > 2000 ? `${thrown.message.length} characters` : null;
  return odd === null ? null : { kind: 'message', message: `${odd}: ${thrown.message.slice(0, 300)}\n${String(thrown.stack).split('\n').filter((l) => l.startsWith('    at')).slice(0, 5).join('\n')}` };
}

/** Input number `index` of a reader. */
export function input(reader: string, seeds: readonly Seed[], seed: number, index: number): { seed: Seed; bytes: Buffer } {
  const rng = new Rng('fuzz', seed, reader, index);
  const chosen = seeds[rng.integer(seeds.length)];
  return { seed: chosen, bytes: mutate(chosen.bytes, chosen.shape, rng) };
}

/** Which input of which reader comes as number `i`. */
export function locate(readers: Task['readers'], i: number): { name: string; index: number } {
  for (const [name, count] of readers) {
    if (i < count) return { name, index: i };
    i -= count;
  }
  throw new RangeError('beyond the last input');
}

/** Runs inputs [from, to) of the task, counted over all its readers; every one is announced before it is tried. */
export async function run({ readers, seed, from, to, folder, findings, progress, most }: Task): Promise<void> {
  const at = openSync(progress, 'a');
  let seeds: Seed[] = [], open = '';
  for (let i = from; i < to; i++) {
    const { name, index } = locate(readers, i);
    if (name !== open) {
      writeSync(at, 'seeds\n');
      const own = join(folder, `${name}-${process.pid}`);
      mkdirSync(own);
      seeds = await READERS[name](own);
      for (const s of seeds) await s.read(write(s, s.bytes)); // whole ones must be read
      open = name;
    }
    writeSync(at, `${i}\n`);
    const { seed: chosen, bytes } = input(name, seeds, seed, index);
    const peak = process.resourceUsage().maxRSS;
    const found = await attempt(() => chosen.read(write(chosen, bytes)));
    const grown = (process.resourceUsage().maxRSS - peak) / 1024;
    const wrong = found ?? (grown > most ? { kind: 'memory' as const, message: `${grown.toFixed(0)} MiB for ${bytes.length} bytes` } : null);
    if (!wrong) continue;
    appendFileSync(findings, `${JSON.stringify({ reader: name, seed, index, ...wrong } satisfies Finding)}\n`);
    writeFileSync(join(folder, `${name}-${index}`), bytes);
  }
}

/** A new file each time: an old one may still be mapped. */
function write({ path }: Seed, bytes: Buffer): string {
  rmSync(path, { force: true });
  writeFileSync(path, bytes);
  return path;
}

async function attempt(action: () => Promise<unknown>): Promise<Pick<Finding, 'kind' | 'message'> | null> {
  try {
    await action();
    return null;
  } catch (error) {
    return fault(error);
  }
}
