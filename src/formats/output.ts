import { accessSync, closeSync, constants, copyFileSync, openSync, readdirSync, readSync, realpathSync, statSync, write, writeSync, type Stats } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { isatty } from 'node:tty';
import { promisify } from 'node:util';
import { beginWriteBack, copyRange } from '@graft/kernels/files';
import { noteRead, noteWritten } from '../dependencies.js';
import { EXIT, GraftError, ioError, usageError } from '../errors.js';
import { breathe } from '../signals.js';
import { inputFailure } from './input.js';
import { isUnfinished, targetOf, temporaryDirectory, temporaryFile } from './temporary.js';

/** Bytes of an open file. */
export interface Span { fd: number; offset: number; length: number }

/** Bytes on their way to a file or to standard output; nothing is seen under the final name before `commit`. */
export interface Output {
  /** How messages name it. */
  readonly name: string;
  write(bytes: Uint8Array | string): Promise<void>;
  /** The same for bytes of another file, where the output is a file too. */
  copy?(span: Span): Promise<void>;
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

/** Names standard output, on the command line. */
const STDOUT = '-';
const writeBeside = promisify(write);

export const isStdout = (path: string | undefined): path is undefined | typeof STDOUT => path === undefined || path === STDOUT;

/**
 * Opens an output. No path, or `-`: standard output.
 * @param text what is written may be shown on a terminal
 * @throws GraftError (usage) for binary output to a terminal; (74) where the file cannot be made
 */
export function openOutput(path?: string, { text = false } = {}): Output {
  if (isStdout(path)) return standardOutput(text);
  const found = lookUp(path);
  if (found?.isDirectory()) throw usageError(`${path}: is a directory; name a file`);
  // A device or a pipe is written to, never replaced.
  return found && !found.isFile() ? deviceOutput(path, text) : fileOutput(path, found);
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
function openOutputDirectory(path: string): OutputDirectory {
  const target = resolve(path);
  refuseToReplace(path, target);
  const temporary = attempt(path, () => temporaryDirectory(lookUp(target) ? realpathSync(target) : target));
  return {
    path: temporary.path,
    commit: () => attempt(path, () => {
      for (const file of readdirSync(temporary.path)) noteWritten(join(path, file));
      temporary.settle();
    }),
    abort: () => temporary.discard(),
  };
}

/**
 * Says before a long run what would end it when its result is there: a directory that is missing or not to be written in.
 * @throws GraftError (74)
 */
export function checkWritable(path: string): void {
  const found = lookUp(path);
  if (found && !found.isFile() && !found.isDirectory()) return;
  attempt(path, () => accessSync(dirname(found ? realpathSync(path) : resolve(path)), constants.W_OK | constants.X_OK));
}

/** @throws GraftError (usage) where binary data would go to a terminal. */
export function refuseTerminal(fd = 1): void {
  if (isatty(fd)) throw usageError('refusing to write binary data to a terminal: redirect it (> FILE), pipe it on, or give --output FILE');
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

function fileOutput(path: string, found: Stats | undefined): Output {
  const temporary = attempt(path, () => temporaryFile(found ? realpathSync(path) : resolve(path), found));
  const { fd } = temporary, written = writingBack(fd);
  return {
    name: path,
    write: async (bytes) => written(typeof bytes === 'string' || bytes.length < LARGE ? await send(path, fd, bytes) : await sendBeside(path, fd, bytes)),
    copy: async (span) => {
      for (let done = 0; done < span.length;) {
        const n = Math.min(span.length - done, COPIED);
        attempt(path, () => copyAll({ ...span, offset: span.offset + done, length: n }, fd));
        written(n);
        done += n;
        await breathe();
      }
    },
    commit: async () => attempt(path, () => {
      temporary.settle();
      if (!isUnfinished(path)) noteWritten(path);
    }),
    abort: () => temporary.discard(),
  };
}

function deviceOutput(path: string, text: boolean): Output {
  const fd = attempt(path, () => openSync(path, 'w'));
  if (!text) refuseTerminal(fd);
  let open = true;
  const close = (): void => {
    if (open) closeSync(fd);
    open = false;
  };
  return { name: path, write: async (bytes) => void await send(path, fd, bytes), commit: async () => close(), abort: close };
}

function standardOutput(text: boolean): Output {
  const { stdout } = process;
  if (!text) refuseTerminal();
  watchReader();
  const write = (bytes: Uint8Array | string): Promise<void> => new Promise((done, fail) => {
    stdout.write(bytes, (error) => (error ? fail(failure('standard output', error)) : done()));
  });
  return { name: 'standard output', write: async (bytes) => { await write(bytes); await breathe(); }, commit: () => write(''), abort: () => {} };
}

let watched = false;

/** Whoever writes hears of an error; a reader that goes away (`| head`) ends the program quietly. */
function watchReader(): void {
  if (watched) return;
  watched = true;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT.done);
  });
}

/** @returns how many bytes that were */
async function send(path: string, fd: number, bytes: Uint8Array | string): Promise<number> {
  const n = attempt(path, () => writeAll(fd, bytes));
  await breathe();
  return n;
}

/** Bytes that are worth writing while something else is computed. */
const LARGE = 1 << 18;

/** `send`, from another thread. */
async function sendBeside(path: string, fd: number, bytes: Uint8Array): Promise<number> {
  try {
    for (let done = 0; done < bytes.length;) done += (await writeBeside(fd, bytes, done, Math.min(bytes.length - done, 1 << 30))).bytesWritten;
  } catch (error) {
    throw failure(path, error);
  }
  return bytes.length;
}

/** Bytes copied at once, and written before the disk is told to begin with them. */
const COPIED = 16 << 20;

/** Told of every piece that was written, has the disk begin with what is there, for `commit` waits until all of it is safe. */
function writingBack(fd: number): (bytes: number) => void {
  let begun = 0, end = 0;
  return (bytes) => {
    end += bytes;
    if (end - begun < COPIED) return;
    beginWriteBack(fd, begun, end - begun);
    begun = end;
  };
}

/** What the kernel does not copy by itself is read and written. @throws the system's own error */
function copyAll({ fd, offset, length }: Span, to: number): void {
  let done = copyRange(fd, offset, to, length);
  if (done === length) return;
  const memory = new Uint8Array(1 << 20);
  while (done < length) {
    const n = readSync(fd, memory, 0, Math.min(memory.length, length - done), offset + done);
    if (n === 0) throw new Error('the file that is copied ended early');
    writeAll(to, memory.subarray(0, n));
    done += n;
  }
}

/** Copies a file that belongs to a model into its directory. @throws GraftError (66) where it cannot be read, (74) */
export function copyInto(directory: string, file: string): void {
  noteRead(file);
  try {
    accessSync(file, constants.R_OK);
  } catch (error) {
    throw inputFailure(file, error);
  }
  attempt(directory, () => copyFileSync(file, join(directory, basename(file))));
}

/** Writes every byte. @returns how many @throws the system's own error */
export function writeAll(fd: number, bytes: Uint8Array | string): number {
  const data = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
  for (let done = 0; done < data.length;) {
    try {
      done += writeSync(fd, data, done, Math.min(data.length - done, 1 << 30));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
  return data.length;
}

function lookUp(path: string): Stats | undefined {
  return attempt(path, () => statSync(path, { throwIfNoEntry: false }));
}

/** Does something to the output `path`. @throws GraftError (74) saying why it failed */
export function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof GraftError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(EXIT.done);
    throw failure(path, error);
  }
}

const REASONS: Record<string, string> = {
  ENOSPC: 'no space left on the device', EDQUOT: 'the disk quota is used up', ENOENT: 'its directory does not exist', ENOTDIR: 'a part of the path is not a directory',
  EACCES: 'permission denied', EPERM: 'permission denied', EROFS: 'the file system is read-only', EFBIG: 'the file would be larger than allowed',
};

function failure(name: string, error: unknown): GraftError {
  const { code = '', message } = error as NodeJS.ErrnoException;
  return ioError(`${targetOf(name)}: writing failed: ${REASONS[code] ?? message}`, error);
}
