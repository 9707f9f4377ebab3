import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { tableFromIPC } from 'apache-arrow';
import { jsonLines, must, tinyBert, tinyDecoder, tinyRows } from './tiny.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Every number of the second within a small distance of the first's, everything else the same. */
export function near(actual: unknown, expected: unknown, where = '', tolerance = 2e-4): void {
  if (typeof expected === 'number' && typeof actual === 'number') return assert.ok(Math.abs(actual - expected) <= tolerance * (1 + Math.abs(expected)), `${where}: ${actual}, not ${expected}`);
  if (typeof expected !== 'object' || expected === null) return assert.deepEqual(actual, expected, where);
  assert.deepEqual(Object.keys(actual as object), Object.keys(expected), where);
  for (const [key, value] of Object.entries(expected)) near((actual as Record<string, unknown>)[key], value, `${where}.${key}`, tolerance);
}

export const lines = (text: string): unknown[] => text.trim().split('\n').map((line) => JSON.parse(line));

/** Registers tests that whole commands give with `--backend NAME` what they give on the CPU. `own`: a folder for what they make. */
export function besideCpu(name: string, own: string, skip: string | false): void {
  const both = ['cpu', name];
  // Elsewhere padding is computed too, so that dropout draws for other elements.
  const dropout = name === 'cuda' ? [] : ['--backbone-dropout', 'off'];

  test('a text encoder is adapted, measured and merged as on the CPU', { skip }, () => {
    const model = tinyBert(own), data = jsonLines(join(own, 'rows.jsonl'), tinyRows(32, 1)), start = join(own, 'start.safetensors');
    must(['init-adapter', '-m', model, '--method', 'lora', '--rank', '3', '--target-modules', 'all-linear', '--task', 'classify', '--labels-from', data, '-o', start]);
    const [cpu, other] = both.map((backend) => {
      const [eva, log, out, merged] = ['eva', 'log', 'out', 'merged'].map((name) => join(own, `${name}-${backend}`)), on = ['--backend', backend];
      must(['svd-init', '-m', model, '-g', start, '--method', 'eva', '-d', data, '--batch-size', '8', ...on, '-o', eva]);
      must(['train', '-m', model, '-g', eva, '-d', data, '--epochs', '2', '--batch-size', '8', '--lr', '1e-2', ...dropout, '--log', log, ...on, '-o', out]);
      must(['merge', '-m', model, '-g', out, ...on, '-o', merged]);
      return [lines(readFileSync(log, 'utf8')), lines(must(['eval', '-m', model, '-g', out, '-d', data, ...on]).toString()), lines(must(['eval', '-m', merged, '-d', data, ...on]).toString())];
    });
    near(other, cpu);
  });

  test('text is generated as on the CPU', { skip }, () => {
    const model = tinyDecoder(own), prompts = jsonLines(join(own, 'prompts.jsonl'), tinyRows(3, 2).map(({ text }) => ({ prompt: text })));
    for (const method of [[], ['--method', 'sample', '--samples', '2'], ['--method', 'beam', '--beams', '2']]) {
      const [cpu, other] = both.map((backend) => must(['generate', '-m', model, '-d', prompts, '--max-new', '5', ...method, '--backend', backend]))
        .map((bytes) => tableFromIPC(bytes).toArray().map((row) => row.toJSON() as object));
      near(other, cpu);
    }
  });

  test('an image model adapts at test time as on the CPU', { skip }, () => {
    const stream = join(own, 'stream.arrow');
    must(['data', 'make', 'shapes10', '-n', '12', '--seed', '3', '-o', stream]);
    const [cpu, other] = both.map((backend) => {
      const predicted = must(['tta', '-m', join(root, 'fixtures/resnet'), '--method', 'tent', '--batch-size', '6', '-d', stream, '--backend', backend]);
      return lines(must(['eval', '--metrics', 'nll,error'], predicted).toString());
    });
    near(other, cpu);
  });
}
