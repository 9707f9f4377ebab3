import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, realpathSync, renameSync, rmSync, statSync, writeSync, type Stats } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { EXIT, GraftError, ioError, usageError } from '../errors.js';

/** Bytes on their way to a file or to standard output; nothing is seen under the final name before `commit`. */
export interface Output {
  /** How messages name it. */
  readonly name: string;
  write(bytes: Uint8Array | string): Promise<void>;
  /** Flushes, and gives a file its name. */
  commit(): Promise<void>;
  /** Leaves nothing behind. Harmless after `commit`. */
  abort(): void;
}

/** A directory being filled under a temporary name. */
export interface OutputDirectory {
  /** Where to write the files. */
  readonly path: string;
  commit(): void;
  abort(): void;
}

/**
 * Opens an output. No path, or `-`: standard output.
 * @param text what is written may be shown on a terminal
 * @throws GraftError (usage) for binary output to a terminal; (74) where the file cannot be made
 */
export function openOutput(path?: string, { text = false } = {}): Output {
  if (path === undefined || path === '-') return standardOutput(text);
  const found = lookUp(path);
  if (found?.isDirectory()) throw usageError(`${path}: is a directory; name a file`);
  // A device or a pipe is written to, never replaced.
  return found && !found.isFile() ? deviceOutput(path) : fileOutput(found ? realpathSync(path) : path);
}

/** Runs `fill` on an output that is whole when it succeeds and gone when it fails. */
export async function writeOutput(path: string | undefined, fill: (out: Output) => Promise<void>, options: { text?: boolean } = {}): Promise<void> {
  const out = openOutput(path, options);
  try {
    await fill(out);
    await out.commit();
  } catch (error) {
    out.abort();
    throw error;
  }
}

/** The same for a directory (a checkpoint, a PEFT adapter). */
export async function writeDirectory(path: string, fill: (directory: string) => Promise<void>): Promise<void> {
  const out = openOutputDirectory(path);
  try {
    await fill(out.path);
    out.commit();
  } catch (error) {
    out.abort();
    throw error;
  }
}

/**
 * Opens a directory for output. One that is there already is replaced if it is a checkpoint or an adapter.
 * @throws GraftError (usage) where `path` is something else that would be lost
 */
export function openOutputDirectory(path: string): OutputDirectory {
  const target = resolve(path);
  refuseToReplace(path, target);
  const temporary = temporaryName(target);
  attempt(path, () => mkdirSync(temporary, { recursive: true }));
  unfinished.add(temporary);
  watchSignals();
  return {
    path: temporary,
    commit: () => attempt(path, () => {
      for (const file of readdirSync(temporary)) syncPath(join(temporary, file));
      const old = lookUp(target) ? `${temporary}.old` : null;
      if (old) renameSync(target, old);
      renameSync(temporary, target);
      unfinished.delete(temporary);
      syncPath(dirname(target));
      if (old) rmSync(old, { recursive: true });
    }),
    abort: () => discard(temporary),
  };
}

const REPLACEABLE = /\.(safetensors|json|txt|model|jinja|md|py)$|^\.gitattributes$/;

function refuseToReplace(path: string, target: string): void {
  const found = lookUp(target);
  if (!found) return;
  if (!found.isDirectory()) throw usageError(`${path}: is a file; name a directory`);
  const entries = readdirSync(target, { withFileTypes: true });
  const ours = entries.length === 0 || entries.some((e) => e.name === 'config.json' || e.name === 'adapter_config.json');
  const other = entries.find((e) => !e.isFile() || !REPLACEABLE.test(e.name));
  if (!ours || other) throw usageError(`${path}: exists and holds ${other?.name ?? 'no checkpoint'}; remove it or name another directory`);
}

function fileOutput(path: string): Output {
  const temporary = temporaryName(resolve(path));
  let fd: number | null = attempt(path, () => openSync(temporary, 'wx'));
  unfinished.add(temporary);
  watchSignals();
  const close = (): void => {
    if (fd !== null) closeSync(fd);
    fd = null;
  };
  return {
    name: path,
    write: async (bytes) => attempt(path, () => writeAll(fd!, bytes)),
    commit: async () => attempt(path, () => {
      fsyncSync(fd!);
      close();
      renameSync(temporary, path);
      unfinished.delete(temporary);
      syncPath(dirname(resolve(path)));
    }),
    abort: () => {
      close();
      discard(temporary);
    },
  };
}

function deviceOutput(path: string): Output {
  const fd = attempt(path, () => openSync(path, 'w'));
  let open = true;
  const close = (): void => {
    if (open) closeSync(fd);
    open = false;
  };
  return { name: path, write: async (bytes) => attempt(path, () => writeAll(fd, bytes)), commit: async () => close(), abort: close };
}

function standardOutput(text: boolean): Output {
  const { stdout } = process;
  if (!text && stdout.isTTY) throw usageError('refusing to write binary data to a terminal: redirect it (> FILE), pipe it on, or give --output FILE');
  watchReader();
  const send = (bytes: Uint8Array | string): Promise<void> => new Promise((done, fail) => {
    stdout.write(bytes, (error) => (error ? fail(ioError(`standard output: writing failed: ${error.message}`, error)) : done()));
  });
  return { name: 'standard output', write: send, commit: () => send(''), abort: () => {} };
}

/** Temporary files and directories that no run may leave behind. */
const unfinished = new Set<string>();
let counter = 0;

process.on('exit', () => unfinished.forEach(discard));

function discard(temporary: string): void {
  if (unfinished.delete(temporary)) rmSync(temporary, { recursive: true, force: true });
}

const temporaryName = (target: string): string => join(dirname(target), `.${basename(target)}.${process.pid}-${counter++}.tmp`);

/** A signal ends the run through `exit`, so that unfinished outputs go; who handles the signal itself is left to it. */
function watchSignals(): void {
  for (const [signal, status] of [['SIGINT', EXIT.interrupted], ['SIGTERM', EXIT.terminated]] as const) {
    if (process.listenerCount(signal) === 0) process.on(signal, () => process.listenerCount(signal) === 1 && process.exit(status));
  }
}

let watched = false;

/** A reader that goes away (`| head`) ends the program quietly. */
function watchReader(): void {
  if (watched) return;
  watched = true;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT.done);
  });
}

function writeAll(fd: number, bytes: Uint8Array | string): void {
  const data = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
  for (let done = 0; done < data.length;) {
    try {
      done += writeSync(fd, data, done, Math.min(data.length - done, 1 << 30));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}

function syncPath(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function lookUp(path: string): Stats | undefined {
  return attempt(path, () => statSync(path, { throwIfNoEntry: false }));
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof GraftError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EPIPE') process.exit(EXIT.done);
    const why = code === 'ENOSPC' ? 'no space left on the device' : code === 'ENOENT' ? 'its directory does not exist' : code === 'EACCES' ? 'permission denied' : message;
    throw ioError(`${path}: writing failed: ${why}`, error);
  }
}
