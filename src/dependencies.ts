import { resolve, sep } from 'node:path';

/** Files this run has read and written, by the names they were given, in the order of their first use. */
const read = new Set<string>();
const written = new Set<string>();

export const noteRead = (path: string): void => { read.add(path); };
export const noteWritten = (path: string): void => { written.add(path); };

/**
 * What a Makefile includes so that the outputs of this run are made again when one of its inputs changes, as `gcc -MMD -MP` writes
 * it: the outputs depend on every file read, and each of these is a target of its own, so that removing one is no error.
 * @param output of all files written these count: the file, or those in the directory; without it every one
 */
export function makeRule(output: string | undefined): string {
  const inside = (path: string, directory: string): boolean => resolve(path) === resolve(directory) || resolve(path).startsWith(resolve(directory) + sep);
  const targets = [...written].filter((path) => output === undefined || inside(path, output));
  const places = new Set([...written].map((path) => resolve(path)));
  const inputs = [...read].filter((path) => !places.has(resolve(path)));
  return [`${targets.map(escape).join(' ')}:${inputs.map((i) => ` \\\n  ${escape(i)}`).join('')}\n`, ...inputs.map((i) => `${escape(i)}:\n`)].join('');
}

/** A name as make reads it. */
const escape = (path: string): string => path.replaceAll('$', '$$$$').replace(/[ #]/g, '\\$&');
