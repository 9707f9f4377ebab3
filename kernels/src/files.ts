import { native } from './native.js';

/**
 * Takes an exclusive lock on an open file or directory (flock), which ends with the descriptor or with the process, however that dies.
 * @returns false where another run has it, null where nobody can say: no addon, or a file system without locks
 */
export function lockDescriptor(fd: number): boolean | null {
  const got = native()?.fileLock?.(fd) ?? -1;
  return got < 0 ? null : got === 1;
}

/** Exchanges what two paths name, in one step. @returns false where that cannot be done here */
export const exchangePaths = (a: string, b: string): boolean => native()?.fileExchange?.(a, b) === 1;
