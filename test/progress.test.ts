import assert from 'node:assert/strict';
import { afterEach, mock, test } from 'node:test';
import { counted, duration, openProgress, setProgress } from '../src/progress.js';

afterEach(() => {
  mock.restoreAll();
  setProgress('auto');
});

/** What is said on standard error, which is no terminal, while a task takes `seconds` a step. */
function said(seconds: number, steps: number, total?: number, unit = 'step'): string[] {
  const lines: string[] = [], { isTTY } = process.stderr;
  let now = 0;
  mock.method(process.stderr, 'write', (text: string) => lines.push(text));
  mock.method(performance, 'now', () => now);
  process.stderr.isTTY = false;
  try {
    const progress = openProgress({ label: 'train', unit, total });
    for (let i = 1; i <= steps; i++) {
      now += seconds * 1000;
      progress.update(i, 'loss 0.5');
    }
    progress.end();
  } finally {
    mock.restoreAll();
    process.stderr.isTTY = isTTY;
  }
  return lines;
}

test('durations are short', () => {
  assert.deepEqual([0.4, 12, 65, 3600 + 7 * 60].map(duration), ['0s', '12s', '1m05s', '1h07m']);
});

test('away from a terminal a line every ten seconds and at the end, and nothing of what is over before', () => {
  assert.deepEqual(said(4, 7, 8), ['train: 3/8 steps, 0.250/s, 20s left, loss 0.5\n', 'train: 6/8 steps, 0.250/s, 8s left, loss 0.5\n', 'train: 7/8 steps, 0.250/s, 4s left, loss 0.5\n']);
  assert.deepEqual(said(4, 3), ['train: 3 steps, 0.250/s, 12s, loss 0.5\n']);
  assert.deepEqual(said(1, 9, 9), []);
});

test('units are counted in the plural, symbols are not', () => {
  assert.deepEqual(['batch', 'row', 'MB'].map((unit) => said(12, 1, 2, unit)[0].split(',')[0]), ['train: 1/2 batches', 'train: 1/2 rows', 'train: 1/2 MB']);
});

test('log always says how it ended; none never', () => {
  setProgress('log');
  assert.deepEqual(said(1, 3, 3), ['train: 3/3 steps, 1.00/s, 0s left, loss 0.5\n']);
  setProgress('none');
  assert.deepEqual(said(60, 3, 3), []);
});

test('what is counted passes through', async () => {
  const passed: string[] = [];
  for await (const piece of counted(['a', 'bc'], { label: 'x', unit: 'letter' }, (s) => s.length)) passed.push(piece);
  assert.deepEqual(passed, ['a', 'bc']);
});
