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

test('a concept is erased from the shell: the graft acts on prompts near it, and is merged at a fixed permeability', () => {
  const spm = join(folder, 'spm.safetensors'), concept = jsonLines(join(folder, 'concept.jsonl'), [{ prompt: 'disc' }]), prompts = jsonLines(join(folder, 'two.jsonl'), [{ prompt: 'disc' }, { prompt: 'ring' }]);
  const start = must(['init-adapter', '-m', UNET, '--method', 'spm', '--concept', 'disc', '--check-identity']);
  const erase = (): Buffer => must(['train', '-m', UNET, '-d', concept, '--objective', 'erase', '--steps', '3', '--lr', '0.1', '--sampling-steps', '4', '--anchor-weight', '1', '-q'], start);
  const graft = erase();
  assert.deepEqual(erase(), graft);
  writeFileSync(spm, graft);
  const draw = (...more: string[]): unknown[] => rows(must(['generate', '-d', prompts, '--method', 'ddim', '--steps', '3', '-q', ...more])).map((r) => r.image);
  const [plain, erased] = [draw('-m', UNET), draw('-m', UNET, '-g', spm)];
  assert.notEqual(erased[0], plain[0]);
  must(['merge', '-m', UNET, '-g', spm, '--permeability', '1', '-q', '-o', join(folder, 'erased')]);
  const merged = draw('-m', join(folder, 'erased'));
  const near = (a: unknown, b: unknown): boolean => Buffer.from(a as string, 'base64').every((v, i) => Math.abs(v - Buffer.from(b as string, 'base64')[i]) <= 1);
  assert.ok(near(merged[0], erased[0]), 'γ = 1 for the concept itself');
  assert.ok(!near(merged[1], erased[1]), 'less for another');
});

test('images are projected row by row, in place or beside; 0 steps leave them as they are', () => {
  const project = (...more: string[]): Record<string, unknown>[] => rows(must(['data', 'diffuse', '-m', UNET, '--steps', '5', '--from', '2', '--down', '2', '-q', SHAPES, ...more]));
  const beside = project('--into', 'projected'), alone = project('--batch-size', '7');
  assert.deepEqual(Object.keys(beside[0]).sort(), ['image', 'label', 'projected']);
  const near = (a: unknown, b: unknown): boolean => Buffer.from(a as string, 'base64').every((v, i) => Math.abs(v - Buffer.from(b as string, 'base64')[i]) <= 1);
  assert.ok(alone.every((r, i) => near(r.image, beside[i].projected)), 'whatever the batch');
  assert.ok(beside.some((r) => r.projected !== project('--seed', '1')[0].image));
  const still = project('--from', '0'), again = rows(must(['data', 'diffuse', '-m', UNET, '--steps', '5', '--from', '0', '--down', '2', '-q'], must(['data', 'diffuse', '-m', UNET, '--steps', '5', '--from', '0', '--down', '2', '-q', SHAPES])));
  assert.deepEqual(again, still, 'but for the size of the images');
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
  refused(64, /--from 9: it must be a whole number up to --steps 5/, ['data', 'diffuse', '-m', UNET, '--steps', '5', '--from', '9', SHAPES, '-o', join(folder, 'x')]);
  refused(64, /--model is missing: the diffusion model to project with/, ['data', 'diffuse', SHAPES, '-o', join(folder, 'x')]);
  refused(64, /fixtures\/resnet: this is a resnet-?\w*, no diffusion model/, ['data', 'diffuse', '-m', join(ROOT, 'fixtures/resnet'), SHAPES, '-o', join(folder, 'x')]);
  refused(64, /--permeability is for routed grafts, not for checkpoints/, ['merge', UNET, UNET, '--permeability', '1', '-o', join(folder, 'x')]);
  refused(64, /--permeability is for spm grafts; this one is full/, ['merge', '-m', UNET, '-g', START, '--permeability', '1', '-o', join(folder, 'x')]);
  refused(64, /objective classify trains a head for classify; the graft's is for diffusion/, ['train', '-m', UNET, '-d', SHAPES, '-g', START, '--objective', 'classify', '-o', join(folder, 'x')]);
});
