import { EXIT } from './errors.js';

/** Signals that end a run, and its exit status then: 128 and the signal's number, as a shell reports it. */
export const ENDING = { SIGINT: EXIT.interrupted, SIGTERM: EXIT.terminated, SIGHUP: EXIT.hungUp } as const;

export type EndingSignal = keyof typeof ENDING;

export const endingSignals = Object.keys(ENDING) as EndingSignal[];

/** A signal ends the run through `exit`, so that whatever waits for that can clean up; who handles the signal itself is left to it. */
export function endOnSignals(): void {
  for (const signal of endingSignals) {
    if (process.listenerCount(signal) === 0) process.on(signal, () => process.listenerCount(signal) === 1 && process.exit(ENDING[signal]));
  }
}

/** Milliseconds of work between two looks at what waits outside. */
const BREATH = 20;
let last = performance.now();

/** Lets signals and streams in, now and then, where work would otherwise wait for nothing. */
export async function breathe(): Promise<void> {
  if (performance.now() - last < BREATH) return;
  await new Promise(setImmediate);
  last = performance.now();
}
