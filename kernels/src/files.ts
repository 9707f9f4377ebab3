import { native } from './native.js';

/**
 * Takes an exclusive lock on an open file or directory (flock), which ends with the descriptor or with the process, however that dies.
 * @returns false where another run has it, null where nobody can say: no addon, or a file system without locks
 */
export function lockDescriptor(fd: number): boolean | null {
  const got = native()?.fileLock?.(fd) ?? -1;
  return got < 0 ? null : got === 1;
}

/**
 * Copies bytes of one open file to where another stands, within the kernel.
 * @returns how many; fewer than `length` where that cannot be done here
 */
export const copyRange = (from: number, offset: number, to: number, length: number): number => native()?.fileCopy?.(from, offset, to, length) ?? 0;

/** The disk begins to write what was written to a file between two offsets, so that a later fsync waits less. */
export const beginWriteBack = (fd: number, offset: number, length: number): void => void native()?.fileWriteBack?.(fd, offset, length);

/** Exchanges what two paths name, in one step. @returns false where that cannot be done here */
export const exchangePaths = (a: string, b: string): boolean => native()?.fileExchange?.(a, b) === 1;
