import { exchangePaths, lockDescriptor } from '@graft/kernels/files';
import { closeSync, existsSync, fchmodSync, fchownSync, fsyncSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, type Stats } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { endOnSignals } from '../signals.js';

/**
 * What is written beside its target until it is whole: `.TARGET.PID-N.tmp`, in the same directory so that a rename gives it its name.
 * It goes away when the run fails or is ended by a signal; after a SIGKILL the next run that writes the same target removes it.
 */
export interface Temporary {
  readonly path: string;
  /** The open file; of a directory, only a descriptor that holds its lock. */
  readonly fd: number;
  /** Gives it the target's name. */
  settle(): void;
  /** Harmless after `settle`. */
  discard(): void;
}

/** @param like the file that will be replaced, whose owner and permissions are kept */
export function temporaryFile(target: string, like?: Stats): Temporary {
  const path = begin(target);
  const fd = openSync(path, 'wx');
  lockDescriptor(fd);
  if (like) {
    if (like.uid !== process.getuid?.() || like.gid !== process.getgid?.()) try { fchownSync(fd, like.uid, like.gid); } catch { /* as a user may not */ }
    fchmodSync(fd, like.mode & 0o7777);
  }
  return held(path, fd, () => {
    fsyncSync(fd);
    renameSync(path, target);
  }, target);
}

/** A directory that is there already is exchanged with the new one, and then removed. */
export function temporaryDirectory(target: string): Temporary {
  const path = begin(target);
  mkdirSync(path);
  const fd = openSync(path, 'r');
  lockDescriptor(fd);
  return held(path, fd, () => {
    for (const file of readdirSync(path)) syncPath(join(path, file));
    fsyncSync(fd);
    if (!existsSync(target)) renameSync(path, target);
    else if (!exchangePaths(path, target)) replaceInTwoSteps(path, target);
    rmSync(path, { recursive: true, force: true });
  }, target);
}

/** Where names cannot be exchanged the target is away for a moment; a run killed in it is repaired by the next (`sweep`). */
function replaceInTwoSteps(path: string, target: string): void {
  const old = path.replace(/tmp$/, 'old');
  renameSync(target, old);
  renameSync(path, target);
  rmSync(old, { recursive: true });
}

function held(path: string, fd: number, settle: () => void, target: string): Temporary {
  let open = true;
  const close = (): void => {
    if (open) closeSync(fd);
    open = false;
    unfinished.delete(path);
  };
  unfinished.add(path);
  return {
    path, fd,
    settle: () => {
      settle();
      close();
      syncPath(dirname(target));
    },
    discard: () => {
      if (open) rmSync(path, { recursive: true, force: true });
      close();
    },
  };
}

/** Temporary files and directories that no run may leave behind. */
const unfinished = new Set<string>();
let counter = 0;

process.on('exit', () => unfinished.forEach((path) => rmSync(path, { recursive: true, force: true })));

/** Is the path inside a directory that has not got its name yet? */
export const isUnfinished = (path: string): boolean => unfinished.has(dirname(path));

/** A path in a temporary directory as the user knows it. */
export const targetOf = (path: string): string => path.replace(/(^|\/)\.([^/]+)\.\d+-\d+\.tmp(?=\/|$)/, '$1$2');

/** Names of files have 255 bytes at most, of which this is left to the target's own. */
const LONGEST = 200;

const stem = (target: string): string => `.${Buffer.from(basename(target)).subarray(0, LONGEST).toString()}`;

/** A fresh name beside the target, after what killed runs left there has gone. */
function begin(target: string): string {
  endOnSignals();
  sweep(target);
  return join(dirname(target), `${stem(target)}.${process.pid}-${counter++}.tmp`);
}

function sweep(target: string): void {
  const directory = dirname(target), prefix = `${stem(target)}.`;
  for (const name of namesIn(directory)) {
    if (!name.startsWith(prefix)) continue;
    const [, pid, kind] = /^(\d+)-\d+\.(tmp|old)$/.exec(name.slice(prefix.length)) ?? [];
    if (pid === undefined || isAlive(Number(pid)) || isLocked(join(directory, name))) continue;
    if (kind === 'old' && !existsSync(target)) renameSync(join(directory, name), target);
    else rmSync(join(directory, name), { recursive: true, force: true });
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // whoever makes the file there says why not
  }
}

/** Of another user's process nothing more can be said than that it is there. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Another machine or container, whose process numbers mean nothing here, may be at work on it. */
function isLocked(path: string): boolean {
  try {
    const fd = openSync(path, 'r');
    const locked = lockDescriptor(fd) === false;
    closeSync(fd);
    return locked;
  } catch {
    return true;
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
