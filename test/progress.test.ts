import assert from 'node:assert/strict';
import { test } from 'node:test';
import { duration, openProgress } from '../src/progress.js';

test('durations are short', () => {
  assert.deepEqual([0.4, 12, 65, 3600 + 7 * 60].map(duration), ['0s', '12s', '1m05s', '1h07m']);
});

test('away from a terminal auto says nothing, and bar writes lines', () => {
  const said: string[] = [], { write } = process.stderr, { isTTY } = process.stderr;
  process.stderr.isTTY = false;
  process.stderr.write = ((text: string) => { said.push(text); return true; }) as typeof write;
  try {
    for (const mode of ['auto', 'none', 'bar'] as const) {
      const progress = openProgress(mode, 'train', 4, 'step');
      progress.update(2, 'loss 1.0');
      progress.update(4, 'loss 0.5');
      progress.end();
    }
  } finally {
    process.stderr.write = write;
    process.stderr.isTTY = isTTY;
  }
  assert.equal(said.length, 1, said.join(''));
  assert.match(said[0], /^train: 4\/4 steps, .*\/s, 0s left, loss 0\.5\n$/);
});
