import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { decode } from '../../src/formats/dtype.js';
import { readGraft } from '../../src/formats/graft.js';
import { must, scratch } from '../support/tiny.js';

const GOLDEN = fileURLToPath(new URL('../../../test/golden/peft', import.meta.url));

/** The steps of test/golden/peft_training.py, by graft: the same start, batches, AdamW and schedule. */
async function agree(model: string, rows: string, golden: string, lr: string, n = 50): Promise<void> {
  const folder = scratch(), log = join(folder, 'log.jsonl'), out = join(folder, 'end.safetensors');
  must(['train', '-m', model, '-g', join(golden, 'start'), '-d', rows, '--no-shuffle', '--batch-size', '8', '--steps', String(n), '--lr', lr,
    '--weight-decay', '0.01', '--decay-all', '--backbone-dropout', 'off', '--warmup', '5', '--clip', '1', '--log', log, '-o', out]);
  const { losses, gradNorms } = JSON.parse(readFileSync(join(golden, 'training.json'), 'utf8')) as { losses: number[]; gradNorms: number[] };
  const steps = readFileSync(log, 'utf8').trim().split('\n').map((l) => JSON.parse(l)).filter((e) => e.event === 'step');
  assert.equal(steps.length, losses.length);
  steps.forEach((s, i) => {
    assert.ok(Math.abs(s.loss / losses[i] - 1) < 1e-5, `step ${i + 1}: loss ${s.loss}, PEFT's ${losses[i]}`);
    assert.ok(Math.abs(s.gradNorm / gradNorms[i] - 1) < 1e-4, `step ${i + 1}: gradient ${s.gradNorm}, PEFT's ${gradNorms[i]}`);
  });
  const [mine, theirs] = await Promise.all([readGraft(out), readGraft(join(golden, 'end'))]);
  assert.ok(theirs.tensors.size > 0);
  for (const [name, tensor] of theirs.tensors) {
    const own = mine.tensors.get(name) ?? mine.tensors.get(name.replace(/^bert\./, ''));
    assert.ok(own, `${name} is missing`);
    assert.deepEqual(own.shape, tensor.shape, `${name}: ranks`);
    const expected = decode(tensor.data, 'F32')!, got = decode(own.data, 'F32')!;
    expected.forEach((v, i) => assert.ok(Math.abs(got[i] - v) < 1e-4, `${name}[${i}]: ${got[i]}, PEFT's ${v}`));
  }
}

test('50 steps of LoRA go as in PEFT', () => agree(join(GOLDEN, 'model'), join(GOLDEN, 'rows.jsonl'), GOLDEN, '5e-3'));

for (const method of ['dora', 'adalora', 'ia3']) {
  test(`20 steps of ${method} go as in PEFT`, () => agree(join(GOLDEN, 'model'), join(GOLDEN, 'rows.jsonl'), join(GOLDEN, method), '5e-3', 20));
}

/** GRAFT_PEFT: a folder with model/, rows.jsonl and what `peft_training.py model rows.jsonl CLASSES .` leaves. */
test('50 steps of LoRA on a real encoder go as in PEFT', (t) => {
  const real = process.env.GRAFT_PEFT;
  if (!real || !existsSync(join(real, 'training.json'))) return t.skip('GRAFT_PEFT names no folder that peft_training.py filled');
  return agree(join(real, 'model'), join(real, 'rows.jsonl'), real, '1e-3');
});
