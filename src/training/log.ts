import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { inputError, ioError } from '../errors.js';

/**
 * One line of `--log`. The fields of an event are stable, and carry no times, so that equal runs write equal logs:
 *
 * - `start`: steps, stepsPerEpoch, examples, validation (rows or null), trained (tensors), parameters (numbers in them)
 * - `step`: step (1 at the first), epoch (0 at the first), loss (mean over the step's terms), lr, gradNorm (before clipping)
 * - `eval`: step, metric, value, best (whether it is the best so far)
 * - `method`: step, method, and what the method reports (rank growth, pruning …)
 * - `checkpoint`: step
 * - `end`: step, best ({ value, step } of the weights kept, or null), stopped ('early' or null)
 */
export interface LogEvent { event: 'start' | 'step' | 'eval' | 'method' | 'checkpoint' | 'end'; [field: string]: unknown }

/** Appends events to a file as JSON lines. */
export class EventLog {
  private readonly fd: number | null;

  /** @param keepUntil a resumed run keeps the events of the steps up to here; without it the file starts empty. */
  constructor(private readonly path: string | undefined, keepUntil?: number) {
    if (path === undefined) {
      this.fd = null;
      return;
    }
    const kept = keepUntil === undefined ? '' : keptLines(path, keepUntil);
    try {
      this.fd = openSync(path, 'w');
    } catch (e) {
      throw inputError(`${path}: cannot be written: ${(e as Error).message}`, e);
    }
    this.put(kept);
  }

  write(event: LogEvent): void {
    if (this.fd !== null) this.put(`${JSON.stringify(event)}\n`);
  }

  private put(text: string): void {
    try {
      writeSync(this.fd!, text);
    } catch (e) {
      throw ioError(`${this.path}: writing failed: ${(e as Error).message}`, e);
    }
  }

  close(): void {
    if (this.fd !== null) closeSync(this.fd);
  }
}

/** The whole lines of a log that a run stopped at `step` would have written. */
function keptLines(path: string, step: number): string {
  let text: string;
  try { text = readFileSync(path, 'utf8'); } catch { return ''; }
  const kept = text.split('\n').filter((line) => {
    try { return line !== '' && (JSON.parse(line).step ?? 0) <= step && JSON.parse(line).event !== 'end'; } catch { return false; }
  });
  return kept.map((l) => `${l}\n`).join('');
}
