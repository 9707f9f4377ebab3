import { createReadStream, statSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { noteRead } from '../dependencies.js';
import { inputError, ioError, usageError, type GraftError } from '../errors.js';

/** Standard input, on the command line. */
export const STDIN = '-';

/** How messages name an input. */
export const nameOf = (path: string): string => (path === STDIN ? 'standard input' : path);

/** The error for a file system failure on `path`: not there (66) or failed part-way (74). */
export function inputFailure(path: string, error: unknown): GraftError {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'ENOTDIR') return inputError(`${nameOf(path)}: no such file or directory`, error);
  if (code === 'EACCES' || code === 'EPERM') return inputError(`${nameOf(path)}: permission denied`, error);
  if (code === 'EISDIR') return inputError(`${nameOf(path)}: is a directory where a file is expected`, error);
  return ioError(`${nameOf(path)}: reading failed: ${message}`, error);
}

/**
 * The bytes of a file, or of standard input for `-`, chunk by chunk.
 * @throws GraftError (66) when it is not there; usage when standard input is a terminal
 */
export async function* inputStream(path: string): AsyncGenerator<Uint8Array> {
  if (path === STDIN && process.stdin.isTTY) throw usageError('standard input is a terminal: pipe data in, or name a file');
  noteInput(path);
  try {
    if (path === STDIN) yield* process.stdin as AsyncIterable<Uint8Array>;
    else yield* createReadStream(path, { highWaterMark: 1 << 18 }) as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw inputFailure(path, error);
  }
}

let stdinUsed = false;

function noteInput(path: string): void {
  if (path === STDIN) stdinUsed = true;
  else noteRead(path);
}

/** Nobody reads on: a command that has seen enough (`head`) ends before the program that feeds it. */
export function leaveStdin(): void {
  if (stdinUsed) process.stdin.destroy();
}

/** All bytes of one of many small files. */
export async function readSmall(path: string): Promise<Uint8Array> {
  noteRead(path);
  return readFile(path).catch((error) => { throw inputFailure(path, error); });
}

/** All bytes of a file, or of standard input for `-`. */
export async function readInput(path: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of inputStream(path)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The first bytes of a file, fewer where it is shorter. */
export async function readHead(path: string, length: number): Promise<Uint8Array> {
  noteRead(path);
  try {
    const file = await open(path, 'r');
    try {
      const { buffer, bytesRead } = await file.read(new Uint8Array(length), 0, length, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw inputFailure(path, error);
  }
}

/** @throws GraftError (66) when nothing is there. */
export function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    throw inputFailure(path, error);
  }
}
