/** Exit statuses, after sysexits(3). */
export const EXIT = { done: 0, failed: 1, usage: 64, data: 65, noInput: 66, io: 74, hungUp: 129, interrupted: 130, terminated: 143 } as const;

/**
 * An error the user can act on: one line saying what, where and what to do. Anything else that is thrown is a defect in
 * graft and keeps its stack.
 */
export class GraftError extends Error {
  constructor(message: string, readonly status: number = EXIT.failed, options?: ErrorOptions) {
    super(oneLine(message, LONGEST), options);
    this.name = 'GraftError';
  }
}

/** The longest message. */
const LONGEST = 600;

/** Text from a file, safe to put into a one-line message: no control characters, and no more than can be read. */
export function oneLine(text: string, longest = 120): string {
  const shown = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ');
  if (shown.length <= longest) return shown;
  const end = Math.floor(longest / 3);
  return `${shown.slice(0, longest - end - 3)} … ${shown.slice(-end)}`;
}

/** The command line is wrong (64). */
export const usageError = (message: string): GraftError => new GraftError(message, EXIT.usage);
/** The contents of a file are wrong (65). */
export const dataError = (message: string, cause?: unknown): GraftError => new GraftError(message, EXIT.data, { cause });
/** A file is not there or cannot be opened (66). */
export const inputError = (message: string, cause?: unknown): GraftError => new GraftError(message, EXIT.noInput, { cause });
/** Reading or writing failed part-way (74). */
export const ioError = (message: string, cause?: unknown): GraftError => new GraftError(message, EXIT.io, { cause });
