import { lockDescriptor } from '@graft/kernels/files';
import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { GraftError } from '../errors.js';
import { endOnSignals } from '../signals.js';
import { attempt } from './output.js';
import { isAlive } from './temporary.js';

/** Milliseconds between two tries. */
const PATIENCE = 100;

/** The file that stands for a lock on `path`. */
const lockName = (path: string): string => join(dirname(path), `.${basename(path)}.lock`);

/**
 * Keeps other runs away from a file that this one reads and writes again. The system frees the lock of a process that dies, however
 * it dies; where there are no such locks, the number of the process in the file says whether it still counts.
 * @param wait seconds to wait for another run to end
 * @returns what frees it
 * @throws GraftError (1) where another run has it, (74) where the lock cannot be made
 */
export async function lockFile(path: string, wait: number): Promise<() => void> {
  const until = performance.now() + wait * 1000;
  for (;;) {
    const free = attempt(path, () => tryLock(lockName(path)));
    if (typeof free === 'function') return free;
    if (performance.now() >= until) throw new GraftError(`${path}: another run (process ${free}) is at work on it; try again when it has ended, or give --wait SECONDS`);
    await new Promise((go) => setTimeout(go, PATIENCE));
  }
}

/** @returns what frees the lock, or the number of the process that has it */
function tryLock(path: string): (() => void) | string {
  endOnSignals();
  for (;;) {
    const fd = openSync(path, 'a+');
    const owner = readFileSync(path, 'utf8').trim() || 'unknown';
    const locked = lockDescriptor(fd);
    const mine = statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino;
    if (locked && mine) return own(path, fd);
    closeSync(fd);
    if (locked === false) return owner;
    if (locked === null) return tryCreate(path, owner);
    // Locked, but another run that ended has taken the name away meanwhile: again, then.
  }
}

/** Without locks of the system: the file is one run's for as long as the process whose number it holds lives. */
function tryCreate(path: string, owner: string): (() => void) | string {
  if (isAlive(Number(owner))) return owner;
  rmSync(path, { force: true });
  try {
    return own(path, openSync(path, 'wx'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return 'unknown';
    throw error;
  }
}

function own(path: string, fd: number): () => void {
  ftruncateSync(fd);
  writeSync(fd, `${process.pid}\n`);
  const remove = (): void => rmSync(path, { force: true });
  process.on('exit', remove);
  return () => {
    process.off('exit', remove);
    remove();
    closeSync(fd);
  };
}
