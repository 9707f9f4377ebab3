import { SingleBar } from 'cli-progress';

export type ProgressMode = 'auto' | 'bar' | 'log' | 'none';

/** Progress of one task, told on standard error. */
export interface Progress {
  /** @param done units finished @param note a few words beside the count, e.g. `loss 0.31` */
  update(done: number, note?: string): void;
  end(): void;
}

export interface Task {
  label: string;
  /** What is counted, in the singular; a symbol (MB) has no plural. */
  unit: string;
  /** How many there will be, where that is known: with it the remaining time is told. */
  total?: number;
  /** Units already done when the task begins (a resumed run). */
  start?: number;
}

/** Lines are this many milliseconds apart, and one is the last; under `auto` a task that takes less says nothing. */
const LINE_EVERY = 10_000;

const SILENT: Progress = { update: () => undefined, end: () => undefined };

let mode: ProgressMode = 'auto';

/** Sets how every task of this run tells its progress: `--progress`, or `none` for `--quiet`. */
export function setProgress(to: ProgressMode): void {
  mode = to;
}

/** `auto` and `bar`: a bar on a terminal, otherwise a line now and then. `log`: lines everywhere. */
export function openProgress(task: Task): Progress {
  if (mode === 'none') return SILENT;
  const terminal = process.stderr.isTTY === true && process.env.TERM !== 'dumb';
  return mode === 'log' || !terminal ? lines(task) : bar(task);
}

/** Passes on what comes and counts it. @param size units in one piece */
export async function* counted<T>(pieces: AsyncIterable<T> | Iterable<T>, task: Task, size: (piece: T) => number): AsyncGenerator<T> {
  const progress = openProgress(task);
  let done = task.start ?? 0;
  try {
    for await (const piece of pieces) {
      yield piece;
      progress.update(done += size(piece));
    }
  } finally {
    progress.end();
  }
}

function bar(task: Task): Progress {
  const { label, total, start = 0 } = task, units = plural(task.unit);
  const clock = stopwatch(task);
  const it = new SingleBar({
    stream: process.stderr, clearOnComplete: true, hideCursor: true, fps: 5, barsize: 24, barCompleteChar: '█', barIncompleteChar: '░',
    format: total === undefined ? `${label} {value} ${units} {rate} {time} {note}` : `${label} {bar} {value}/{total} {rate} {time} {note}`,
  });
  it.start(total ?? Number.MAX_SAFE_INTEGER, start, { rate: '', time: '', note: '' });
  const end = (): void => {
    process.off('exit', end);
    it.stop();
  };
  process.on('exit', end); // gives the terminal its cursor back
  return {
    update: (done, note = '') => {
      const { rate, time } = clock(done);
      it.update(done, { rate: `${rate} ${units}/s`, time, note });
    },
    end,
  };
}

function lines(task: Task): Progress {
  const { label, total } = task, units = plural(task.unit);
  const clock = stopwatch(task);
  let last = performance.now(), held: (() => void) | null = null, said = mode === 'log';
  const say = (done: number, note: string): void => {
    const { rate, time } = clock(done);
    process.stderr.write(`${label}: ${done}${total === undefined ? '' : `/${total}`} ${units}, ${rate}/s, ${time}${note ? `, ${note}` : ''}\n`);
    held = null;
  };
  return {
    update: (done, note = '') => {
      held = () => say(done, note);
      if (performance.now() - last < LINE_EVERY) return;
      last = performance.now();
      held();
      said = true;
    },
    end: () => { if (said) held?.(); },
  };
}

const plural = (unit: string): string => (/[A-Z]$/.test(unit) ? unit : unit === 'batch' ? 'batches' : `${unit}s`);

/** Rate and remaining time, or elapsed time where the total is not known, from the units done since the start. */
function stopwatch({ total, start = 0 }: Task): (done: number) => { rate: string; time: string } {
  const began = performance.now();
  return (done) => {
    const seconds = (performance.now() - began) / 1000, perSecond = (done - start) / Math.max(1e-3, seconds);
    return { rate: perSecond < 100 ? perSecond.toPrecision(3) : perSecond.toFixed(), time: total === undefined ? duration(seconds) : `${duration((total - done) / Math.max(1e-9, perSecond))} left` };
  };
}

/** Seconds as 3h07m, 4m05s or 12s. */
export function duration(seconds: number): string {
  const s = Math.round(seconds);
  const two = (n: number): string => String(n).padStart(2, '0');
  if (s >= 3600) return `${Math.floor(s / 3600)}h${two(Math.floor((s % 3600) / 60))}m`;
  return s >= 60 ? `${Math.floor(s / 60)}m${two(s % 60)}s` : `${s}s`;
}
