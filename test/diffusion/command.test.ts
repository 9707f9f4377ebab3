import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { graft, jsonLines, must, scratch, tinyDecoder, tinyUnet } from '../support/tiny.js';
import { ROOT } from '../models/golden.js';

const folder = scratch();
const UNET = tinyUnet(folder), SHAPES = join(folder, 'shapes.arrow');
must(['data', 'make', 'shapes10', '-n', '40', '--seed', '1', '-o', SHAPES]);
const START = join(folder, 'start.safetensors');
must(['init-adapter', '-m', UNET, '--method', 'full', '-o', START]);
const train = (more: string[] = []): Buffer => must(['train', '-m', UNET, '-d', SHAPES, '--steps', '6', '--batch-size', '8', '--lr', '1e-2', '--progress', 'none', '-g', START, ...more]);
const rows = (table: Buffer): Record<string, unknown>[] => must(['convert', '--to', 'jsonl'], table).toString().trim().split('\n').map((l) => JSON.parse(l) as Record<string, unknown>);

test('a diffusion model learns the noise, with the same bytes for the same seed', () => {
  const log = join(folder, 'log.jsonl'), graft = train(['--log', log]);
  assert.deepEqual(train(), graft);
  assert.notDeepEqual(train(['--seed', '1']), graft);
  writeFileSync(join(folder, 'trained.safetensors'), graft);
  const mse = (more: string[]): number => (JSON.parse(must(['eval', '-m', UNET, '-d', SHAPES, ...more]).toString()) as { metric: string; value: number }).value;
  const [before, after] = [mse([]), mse(['-g', join(folder, 'trained.safetensors')])];
  assert.ok(after < 0.8 * before, `noise-mse ${before} → ${after}`);
});

test('generate makes images under prompts and labels, which eval and train read', () => {
  const prompts = jsonLines(join(folder, 'prompts.jsonl'), [{ prompt: 'disc', id: 'a' }, { prompt: 'ring, checker', id: 'b' }, { prompt: '', id: 'c' }]);
  const make = (...more: string[]): Buffer => must(['generate', '-m', UNET, '-d', prompts, '--method', 'ddim', '--steps', '3', '--samples', '2', '--guidance', '2', '--progress', 'none', ...more]);
  const images = make();
  assert.deepEqual(make(), images);
  const made = rows(images);
  assert.deepEqual(made.map((r) => [r.id, r.prompt, r.sample]), [['a', 'disc', 0], ['a', 'disc', 1], ['b', 'ring, checker', 0], ['b', 'ring, checker', 1], ['c', '', 0], ['c', '', 1]]);
  assert.ok(made.every((r) => Buffer.from(r.image as string, 'base64').length === 8 * 8 * 3));
  assert.equal(new Set(made.map((r) => r.image)).size, 6);
  assert.deepEqual(rows(make('--batch-size', '3')).map((r) => r.image), made.map((r) => r.image), 'whatever the batch');
  const labelled = must(['generate', '-m', UNET, '-d', SHAPES, '--method', 'ddpm', '--steps', '2', '--progress', 'none']);
  must(['train', '-m', UNET, '-d', '-', '-g', START, '--steps', '1', '--progress', 'none'], labelled);
  assert.equal(rows(labelled).length, 40);
  assert.deepEqual(Object.keys(rows(labelled)[0]), ['image', 'label', 'sample']);
});

test('what does not go together is said', () => {
  const refused = (status: number, message: RegExp, args: string[]): void => {
    const ran = graft(args);
    assert.deepEqual([ran.status, message.test(ran.stderr)], [status, true], ran.stderr);
  };
  const prompts = jsonLines(join(folder, 'unknown.jsonl'), [{ prompt: 'hat' }]);
  refused(64, /this is a diffusion model: --method ddim or ddpm makes images with it/, ['generate', '-m', UNET, '-d', prompts]);
  refused(65, /unknown.jsonl: row 1: prompt "hat" is none of the model's 10 conditions/, ['generate', '-m', UNET, '-d', prompts, '--method', 'ddim', '--steps', '2', '-o', join(folder, 'x')]);
  refused(64, /--steps 50: it must be a whole number from 1 to 20/, ['generate', '-m', UNET, '-d', prompts, '--method', 'ddim', '-o', join(folder, 'x')]);
  refused(64, /unknown method 'ddim': one of greedy/, ['generate', '-m', tinyDecoder(folder), '-d', prompts, '--method', 'ddim', '-o', join(folder, 'x')]);
  refused(64, /no causal language model and no diffusion model/, ['generate', '-m', join(ROOT, 'fixtures/resnet'), '-d', prompts, '-o', join(folder, 'x')]);
  refused(64, /objective classify trains a head for classify; the graft's is for diffusion/, ['train', '-m', UNET, '-d', SHAPES, '-g', START, '--objective', 'classify', '-o', join(folder, 'x')]);
});
