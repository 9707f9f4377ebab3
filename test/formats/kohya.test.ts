import { useBackend } from '@graft/kernels';
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import lora from '../../src/adapters/lora.js';
import spm from '../../src/adapters/spm.js';
import { checkFits, readGraft, writeGraft, type Graft } from '../../src/formats/graft.js';
import { kohyaNamed, readKohya, writeKohya } from '../../src/formats/kohya.js';
import { alignNames } from '../../src/formats/naming.js';
import { writeOutput } from '../../src/formats/output.js';
import { readSafetensors } from '../../src/formats/safetensors.js';
import { active, bench, fresh, logits, randomised } from '../adapters/support.js';
import { FOLDER, maxDifference } from '../models/golden.js';
import { must, scratch } from '../support/tiny.js';

before(() => useBackend('auto'));
const folder = scratch(), file = join(folder, 'spm.safetensors');

test('an spm graft goes out in the layout of kohya\'s scripts and comes back the same', async () => {
  for (const name of ['unet-attends', 'unet-linear']) {
    const b = await bench(name), graft = randomised(fresh(b, spm, { concept: ['red', 'blue'], alpha: 2 }));
    await writeOutput(file, (out) => writeKohya(out, graft));
    const { metadata, tensors } = readSafetensors(readFileSync(file));
    assert.deepEqual(metadata, { prompts: 'red,blue', rank: '1', alpha: '2' });
    const at = 'lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0', other = 'lora_unet_down_blocks_0_attentions_1_transformer_blocks_0_attn1_to_out_0';
    const module = name === 'unet-attends' ? at : other;
    assert.deepEqual(['alpha', 'lora_down.weight', 'lora_up.weight'].map((p) => tensors.get(`${module}.${p}`)!.shape.length), [0, 2, 2]);
    const back = alignNames(await readGraft(file), b.checkpoint);
    checkFits(back, b.checkpoint);
    assert.deepEqual([...back.tensors.keys()].sort(), [...graft.tensors.keys()].sort());
    assert.deepEqual([back.config.rank, back.config.alpha, back.config.concept], [1, 2, ['red', 'blue']]);
    assert.equal(maxDifference(logits(b, [active(b, spm, back)]), logits(b, [active(b, spm, graft)])), 0);
    b.checkpoint.close();
  }
});

test('the command writes it and reads it for a model', async () => {
  const b = await bench('unet-attends'), graft = randomised(fresh(b, spm, { concept: ['red'] })), [own, out, again] = ['own', 'kohya', 'again'].map((n) => join(folder, `${n}.safetensors`));
  await writeOutput(own, (o) => writeGraft(o, graft));
  must(['convert', '--to', 'kohya', own, '-o', out]);
  must(['convert', '--to', 'graft', '-m', join(FOLDER, 'unet-attends'), out, '-o', again]);
  const bytes = (tensors: Graft['tensors']): [string, number[]][] => [...tensors].map(([n, t]): [string, number[]] => [n, [...t.data]]).sort(([x], [y]) => (x < y ? -1 : 1));
  assert.deepEqual(bytes((await readGraft(again)).tensors), bytes(graft.tensors));
  b.checkpoint.close();
});

test('what does not belong there is said', async () => {
  const b = await bench('unet-attends'), graft = fresh(b, spm, { concept: ['red'] });
  await assert.rejects(writeOutput(join(folder, 'x'), (out) => writeKohya(out, fresh(b, lora))), /the layout lora_unet_… is for spm grafts; this one is lora/);
  await writeOutput(file, (out) => writeKohya(out, graft));
  const { tensors, metadata } = readSafetensors(readFileSync(file)), some = [...tensors][0][1];
  const reads = (extra: [string, typeof some][], message: RegExp): void => assert.throws(() => readKohya(new Map([...tensors, ...extra]), metadata, 'web.safetensors'), message);
  reads([['lora_te_text_model.alpha', some]], /web.safetensors: tensor 'lora_te_text_model.alpha' is none of a UNet's/);
  const alpha = [...tensors.keys()].find((n) => n.endsWith('.alpha'))!;
  reads([[alpha, { dtype: 'F32', shape: [], data: new Uint8Array(Float32Array.of(3).buffer) }]], /its modules differ in rank or alpha/);
  assert.throws(() => readKohya(new Map([['lora_unet_x.alpha', some]]), {}, 'web'), /has no lora_down.weight/);
  assert.throws(() => kohyaNamed(readKohya(tensors, metadata, 'web'), { path: 'other', names: () => [] }), /does not fit other: it has no module for 'lora_unet_/);
  writeFileSync(file, '');
  b.checkpoint.close();
});
