import { closeSync, openSync, readFileSync } from 'node:fs';
import { attempt, writeAll, writeOutput } from '../formats/output.js';

/**
 * The lines of `--log`: JSON objects with `event` and these fields, told in the manual pages. They are stable, and carry no times, so
 * that equal runs write equal logs.
 */
export const TRAIN_EVENTS = {
  start: {
    steps: 'optimiser steps of the whole run', stepsPerEpoch: 'steps in one pass over the data', examples: 'training examples', validation: 'validation examples, or null',
    trained: 'trained tensors', parameters: 'numbers in them',
  },
  step: { step: '1 at the first', epoch: '0 at the first', loss: 'mean over the terms of the step', lr: 'learning rate', gradNorm: 'norm of the gradient before clipping' },
  eval: { step: 'after which it was measured', metric: 'its name', value: 'of the metric', best: 'whether it is the best so far' },
  method: { step: 'in which the method acted', method: 'its name', '…': 'and what the method reports: ranks grown, entries pruned' },
  graphs: { step: 'the last', recorded: 'CUDA graphs, under --cuda-graphs', repeated: 'batches whose gradients came from one' },
  checkpoint: { step: 'that the checkpoint holds' },
  end: { step: 'the last', best: 'value and step of the weights that were kept, or null', stopped: '"early", or null' },
} as const;

export const TTA_EVENTS = {
  step: { step: 'the batch, 0 at the first; a run with --state counts on', entropy: 'mean over the batch', confidence: 'mean largest probability', accuracy: 'where the data has labels', drift: 'L2 distance of the adapted parameters from the source\'s, relative to the norm of those' },
} as const;

export const GENERATE_EVENTS = {
  images: { prompts: 'rows of the batch', images: 'made at once', passes: 'of the model' },
  batch: { prompts: 'rows of the batch', passes: 'of the model', tokens: 'computed in them, prompts included', generated: 'tokens of the responses' },
} as const;

export interface LogEvent { event: keyof typeof TRAIN_EVENTS | keyof typeof GENERATE_EVENTS; [field: string]: unknown }

/** A section of a manual page. */
export const describeEvents = (events: Record<string, Record<string, string>>): { title: string; items: { term: string; text: string }[] } => ({
  title: 'LOG',
  items: [
    { term: '', text: '--log writes a JSON object a line. Each has event and the fields of that event; none has a time, so that equal runs write equal logs. Later versions may add events and fields, and change none of these.' },
    ...Object.entries(events).map(([event, fields]) => ({ term: event, text: `${Object.entries(fields).map(([name, means]) => `${name} (${means})`).join(', ')}.` })),
  ],
});

/** Events on their way to a file, as JSON lines. The one file that is written in place, so that a run can be watched. */
export class EventLog {
  private constructor(private readonly path: string | undefined, private readonly fd: number | null) {}

  /** @param keepUntil a resumed run keeps the events of the steps up to here; without it the file starts empty. @throws GraftError (74) */
  static async open(path: string | undefined, keepUntil?: number): Promise<EventLog> {
    if (path === undefined) return new EventLog(path, null);
    if (keepUntil !== undefined) await writeOutput(path, (out) => out.write(keptLines(path, keepUntil)), { text: true });
    return new EventLog(path, attempt(path, () => openSync(path, keepUntil === undefined ? 'w' : 'a')));
  }

  write(event: LogEvent): void {
    if (this.fd !== null) attempt(this.path!, () => writeAll(this.fd!, `${JSON.stringify(event)}\n`));
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
