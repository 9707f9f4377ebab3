import { SingleBar } from 'cli-progress';

export type ProgressMode = 'auto' | 'bar' | 'log' | 'none';

/** Progress of one task, told on standard error. */
export interface Progress {
  /** @param done units finished @param note a few words beside the count, e.g. `loss 0.31` */
  update(done: number, note?: string): void;
  end(): void;
}

/** `log` writes a line when this many milliseconds have passed since the last. */
const LOG_EVERY = 10_000;

const SILENT: Progress = { update: () => undefined, end: () => undefined };

/**
 * `auto`: a bar on a terminal, otherwise nothing. `bar`: a bar on a terminal, otherwise `log`. `log`: a line now and then.
 * @param start units already done when the task begins (a resumed run)
 */
export function openProgress(mode: ProgressMode, label: string, total: number, unit: string, start = 0): Progress {
  const terminal = process.stderr.isTTY === true;
  if (mode === 'none' || (mode === 'auto' && !terminal)) return SILENT;
  return mode === 'log' || !terminal ? lines(label, total, unit, start) : bar(label, total, unit, start);
}

function bar(label: string, total: number, unit: string, start: number): Progress {
  const clock = stopwatch(total, start);
  const it = new SingleBar({
    stream: process.stderr, clearOnComplete: true, hideCursor: true, fps: 5, barsize: 24,
    format: `${label} {bar} {value}/{total} {rate} {left} {note}`, barCompleteChar: '█', barIncompleteChar: '░',
  });
  it.start(total, start, { rate: '', left: '', note: '' });
  return {
    update: (done, note = '') => {
      const { rate, left } = clock(done);
      it.update(done, { rate: `${rate} ${unit}/s`, left, note });
    },
    end: () => it.stop(),
  };
}

function lines(label: string, total: number, unit: string, start: number): Progress {
  const clock = stopwatch(total, start);
  let last = performance.now();
  return {
    update: (done, note = '') => {
      const now = performance.now();
      if (now - last < LOG_EVERY && done < total) return;
      last = now;
      const { rate, left } = clock(done);
      process.stderr.write(`${label}: ${done}/${total} ${unit}s, ${rate}/s, ${left} left${note ? `, ${note}` : ''}\n`);
    },
    end: () => undefined,
  };
}

/** Rate and remaining time from the units done since the start. */
function stopwatch(total: number, start: number): (done: number) => { rate: string; left: string } {
  const began = performance.now();
  return (done) => {
    const perSecond = (done - start) / Math.max(1e-3, (performance.now() - began) / 1000);
    return { rate: perSecond.toPrecision(3), left: duration((total - done) / Math.max(1e-9, perSecond)) };
  };
}

/** Seconds as 3h07m, 4m05s or 12s. */
export function duration(seconds: number): string {
  const s = Math.round(seconds);
  const two = (n: number): string => String(n).padStart(2, '0');
  if (s >= 3600) return `${Math.floor(s / 3600)}h${two(Math.floor((s % 3600) / 60))}m`;
  return s >= 60 ? `${Math.floor(s / 60)}m${two(s % 60)}s` : `${s}s`;
}
