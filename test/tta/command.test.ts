import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Field, Schema, Utf8 } from 'apache-arrow';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseCommandLine } from '../../src/command-line.js';
import type { Arguments } from '../../src/commands/command.js';
import command from '../../src/commands/tta.js';
import { readArrow } from '../../src/formats/arrow.js';
import { withClassLabel } from '../../src/formats/features.js';
import { rowsOf, type Row } from '../../src/formats/rows.js';
import { loadTta, ttaNames } from '../../src/tta/registry.js';
import { graft, scratch } from '../support/tiny.js';
import { arrow, arrowParts, images, imageSchema, tinyResnet, type ImageRow } from './support.js';

const GRAFT = fileURLToPath(new URL('../../../bin/graft.js', import.meta.url));
const folder = scratch();
const rows = (domain: string, count: number, seed: number): ImageRow[] => images(count, seed).map((image, i) => ({ image, label: i % 4, domain }));
/** With what methods ask for beside the image. */
const projected = (given: readonly ImageRow[]): ImageRow[] => given.map((r) => ({ ...r, projected: r.image }));
const fog = rows('fog', 12, 1), snow = rows('snow', 10, 2);
let model: string;

before(() => { model = tinyResnet(folder); });

/** The command in this process, from files to files. */
async function run(input: Buffer, options: readonly string[]): Promise<Row[]> {
  const [data, output] = ['stream.arrow', 'predictions.arrow'].map((name) => join(folder, name));
  writeFileSync(data, input);
  const parsed = await parseCommandLine(command, ['-m', model, '-d', data, '-o', output, '-q', '--batch-size', '4', ...options]);
  await command.run((parsed as { args: Arguments }).args);
  const { batches } = await readArrow('predictions', (async function* () { yield readFileSync(output); })());
  const all: Row[] = [];
  for await (const batch of batches) all.push(...rowsOf(batch));
  return all;
}

const tta = async (data: readonly ImageRow[], ...options: string[]): Promise<Row[]> => run(await arrow(data), options);
const logits = (given: readonly Row[]): number[][] => given.map((r) => [...(r.logits as Float32Array)]);
const METHODS = [['--method', 'tent', '--lr', '0.01'], ['--method', 'cotta', '--lr', '0.01', '--p-th', '1.01', '--n-aug', '2', '--restore', '0.1']];
/** Every method, so that something changes within three batches of four. */
const OPTIONS: Record<string, string> = {
  ostta: '--lr 0.01', rmt: '--lr 0.01 --warm-up 8', adanpc: '--neighbours 3',
  petal: '--lr 0.01 --p-th 1.01 --n-aug 2',
  tent: '--lr 0.01', cotta: '--lr 0.01 --p-th 1.01 --n-aug 2 --restore 0.1', eata: '--lr 0.01 --margin 1 --similarity 2', sar: '--lr 0.05 --margin 1',
  memo: '--copies 2', t3a: '--supports 2', rotta: '--lr 0.01 --memory 6 --every 3', note: '--lr 0.01 --memory 6 --every 3', shot: '--lr 0.01', cafa: '--lr 0.01 --epsilon 0.1', vdp: '--lr 0.01 --p-th 1.01 --n-aug 2 --shift 0',
  'meta-dmoe': '--experts 2 --heads 4 --support 3 --inner-lr 0.1 --meta-steps 1 --expert-epochs 1 --aggregator-epochs 1', core: '--lr 0.01',
  vida: '--lr 0.01 --vida-lr 0.01 --n-aug 2 --high 4', itta: '--lr 0.01 --eta 1 --source-steps 1 --per-domain 3',
};

test('predictions come with the columns results are grouped by, batch by batch', async () => {
  const found = await tta([...fog, ...snow], '--method', 'source');
  assert.equal(found.length, 22);
  assert.deepEqual(found.map((r) => r.batch), found.map((_, i) => Math.floor(i / 4)));
  assert.deepEqual(found.map((r) => [r.label, r.domain]), [...fog, ...snow].map((r) => [r.label, r.domain]));
  for (const r of found) assert.equal(r.pred, [...(r.logits as Float32Array)].indexOf(Math.max(...(r.logits as Float32Array))));
  assert.ok(Object.keys(found[0]).every((name) => name !== 'image'));
});

test('labels are the model\'s classes, whatever their order in the data', async () => {
  const named = withClassLabel(imageSchema, 'label', ['d', 'c', 'b', 'a']);
  const found = await run(await arrow(fog, named), ['--method', 'source']);
  assert.deepEqual(found.map((r) => r.label), fog.map((r) => 3 - r.label));
});

test('neither labels nor domains reach the method', async () => {
  const hidden = fog.map((r) => ({ ...r, label: 0, domain: 'none' }));
  for (const method of METHODS) assert.deepEqual(logits(await tta(hidden, ...method)), logits(await tta(fog, ...method)));
});

test('a stream cut in two goes on from its state as if it had not been cut', async () => {
  const clean = join(folder, 'source.arrow');
  writeFileSync(clean, await arrow([...fog, ...snow]));
  for (const name of ttaNames()) {
    const { needsSource } = await loadTta(name);
    const method = ['--method', name, ...(OPTIONS[name]?.split(' ') ?? []), ...(needsSource ? ['--source-data', clean] : [])];
    const stream = projected(fog), whole = await tta(stream, ...method);
    const state = join(folder, `${name}.safetensors`);
    const parts = [...await tta(stream.slice(0, 8), ...method, '--state', state), ...await tta(stream.slice(8), ...method, '--state', state)];
    assert.deepEqual(parts, whole, name);
  }
});

test('eata reads images of the source domain: their Fisher information holds the weights; none at all is an error', async () => {
  const [clean, none] = ['clean.arrow', 'none.arrow'].map((name) => join(folder, name));
  writeFileSync(clean, await arrow(snow));
  writeFileSync(none, await arrow([]));
  const eata = (...more: string[]): Promise<Row[]> => tta(fog, '--method', 'eata', '--lr', '0.01', '--margin', '1', '--similarity', '2', ...more);
  const [free, unheld, held] = [await eata(), await eata('--source-data', clean, '--lambda', '0'), await eata('--source-data', clean, '--lambda', '100')];
  assert.deepEqual(logits(unheld), logits(free));
  assert.deepEqual(logits(held).slice(0, 4), logits(free).slice(0, 4));
  assert.notDeepEqual(logits(held).slice(8), logits(free).slice(8));
  await assert.rejects(eata('--source-data', none), { status: 65, message: /none\.arrow: holds no image of the source domain/ });
});

test('a label of the source domain that is no class is refused with its row', async () => {
  const odd = join(folder, 'odd.arrow');
  writeFileSync(odd, await arrow(snow.map((row, i) => (i === 6 ? { ...row, label: 9 } : row))));
  await assert.rejects(tta(fog, '--method', 'adanpc', '--source-data', odd), { status: 65, message: /odd\.arrow: row 7: label 9 is none of the model's 4 classes/ });
});

test('what a method prepared is kept in a file and read from it; one that is not there or not its own is refused', async () => {
  const [clean, kept] = ['clean.arrow', 'kept.safetensors'].map((name) => join(folder, name));
  writeFileSync(clean, await arrow(snow));
  const eata = (...more: string[]): Promise<Row[]> => tta(fog, '--method', 'eata', '--lr', '0.01', '--margin', '1', '--similarity', '2', '--lambda', '100', ...more);
  const expected = await eata('--source-data', clean);
  await assert.rejects(eata('--prepared', kept), { status: 64, message: /kept\.safetensors is not there; --source-data is needed/ });
  assert.deepEqual(await eata('--source-data', clean, '--prepared', kept), expected);
  assert.deepEqual(await eata('--prepared', kept), expected);
  await assert.rejects(tta(fog, '--method', 'tent', '--prepared', kept), { status: 64, message: /tent learns nothing beforehand/ });
  await assert.rejects(eata('--prepared', join(model, 'model.safetensors')), { status: 65, message: /was prepared for nothing, not for eata/ });
  const bytes = readFileSync(kept);
  const headers = Number(bytes.readBigUInt64LE(0)) + 8, other = join(folder, 'other-model.safetensors');
  writeFileSync(other, Buffer.concat([Buffer.from(bytes.subarray(0, headers).toString('latin1').replace(/("graft.base":")./, '$1-'), 'latin1'), bytes.subarray(headers)]));
  await assert.rejects(eata('--prepared', other), { status: 65, message: /was prepared for another model/ });
});

test('--reset-on starts afresh where the column changes, also where a state was cut there, and no batch holds two values', async () => {
  const [method] = METHODS;
  const alone = [...await tta(fog.slice(0, 10), ...method), ...await tta(snow, ...method)];
  const found = await tta([...fog.slice(0, 10), ...snow], ...method, '--reset-on', 'domain');
  assert.deepEqual(logits(found), logits(alone));
  assert.deepEqual(found.map((r) => r.batch), [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5]);
  const state = join(folder, 'reset.safetensors');
  const cut = [...await tta(fog.slice(0, 10), ...method, '--reset-on', 'domain', '--state', state), ...await tta(snow, ...method, '--reset-on', 'domain', '--state', state)];
  assert.deepEqual(cut, found);
});

test('--reset-every 1: every batch by itself', async () => {
  const [method] = METHODS;
  const alone = [...await tta(fog.slice(0, 4), ...method), ...await tta(fog.slice(4, 8), ...method), ...await tta(fog.slice(8), ...method)];
  assert.deepEqual(logits(await tta(fog, ...method, '--reset-every', '1')), logits(alone));
  assert.notDeepEqual(logits(await tta(fog, ...method, '--reset-every', '2')), logits(alone));
});

test('the log tells entropy, confidence, accuracy and, where something is learnt, the drift of the parameters', async () => {
  const log = join(folder, 'log.jsonl');
  const events = async (...method: string[]): Promise<Record<string, number>[]> => {
    await tta(fog, ...method, '--log', log);
    return readFileSync(log, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  };
  const [still, moving] = [await events('--method', 'source'), await events(...METHODS[0])];
  for (const e of [...still, ...moving]) assert.ok(e.entropy > 0 && e.entropy <= Math.log(4) && e.confidence >= 0.25 && e.confidence <= 1 && [0, 1, 2, 3, 4].includes(4 * e.accuracy), JSON.stringify(e));
  assert.ok(still.every((e) => e.drift === undefined));
  assert.ok(moving[0].drift > 0 && moving[2].drift > moving[0].drift && moving[2].drift < 0.1, JSON.stringify(moving.map((e) => e.drift)));
  // The first step of Adam moves every trained element by the rate: 0.01·√n over ‖θ₀‖, and γ = 1, β = 0 in a blank network: ‖θ₀‖ = √(n/2).
  assert.ok(Math.abs(moving[0].drift - 0.01 * Math.SQRT2) < 1e-4, `${moving[0].drift}`);
});

test('columns that mark unknown classes travel with the predictions, as truth values', async () => {
  const marked = new Schema([...imageSchema.fields, new Field('is_ood', new Utf8())]);
  const found = await run(await arrow(fog.map((r, i) => ({ ...r, is_ood: String(i % 2 === 1) })), marked), ['--method', 'source']);
  assert.deepEqual(found.map((r) => r.is_ood), fog.map((_, i) => i % 2 === 1));
});

test('the predictions of a batch are out before the next is there', { timeout: 60_000 }, async () => {
  const child = spawn(process.execPath, [GRAFT, 'tta', '-m', model, '--batch-size', '4', '-q'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const parts = await arrowParts([fog.slice(0, 4), fog.slice(4, 8)]);
  child.stdin.write(parts[0]);
  const { batches } = await readArrow('predictions', child.stdout);
  assert.equal((await batches.next()).value!.numRows, 4);
  child.stdin.write(parts[1]);
  assert.equal((await batches.next()).value!.numRows, 4);
  child.stdin.end(parts[2]);
  assert.equal((await batches.next()).done, true);
  if (child.exitCode === null) await once(child, 'close');
  assert.equal(child.exitCode, 0);
});

test('what was learnt, as a graft: bn-adapt with it predicts the next batch as tent does', async () => {
  const learnt = join(folder, 'learnt.safetensors');
  const [method] = METHODS;
  const whole = await tta(fog.slice(0, 8), ...method);
  await tta(fog.slice(0, 4), ...method, '--save-graft', learnt);
  assert.deepEqual(logits(await tta(fog.slice(4, 8), '--method', 'bn-adapt', '--graft', learnt)), logits(whole.slice(4)));
  await assert.rejects(tta(fog, '--method', 'source', '--save-graft', learnt), { status: 64 });
});

test('vdp writes its prompts as a graft of pixels: bn-adapt with it predicts the same batch as vdp did', async () => {
  const prompts = join(folder, 'prompts.safetensors');
  const found = await tta(fog.slice(0, 4), '--method', 'vdp', '--loss', 'im', '--lr', '0.05', '--save-graft', prompts);
  const again = logits(await tta(fog.slice(0, 4), '--method', 'bn-adapt', '--graft', prompts));
  logits(found).forEach((z, i) => z.forEach((v, c) => assert.ok(Math.abs(v - again[i][c]) < 1e-5)));
});

test('a state that does not fit is refused in one line and left as it is', async () => {
  const refused = (path: string, message: RegExp): Promise<void> => assert.rejects(tta(fog, '--method', 'cotta', '--p-th', '0', '--state', path), { status: 65, message });
  const tent = join(folder, 'other.safetensors'), broken = join(folder, 'broken.safetensors');
  await tta(fog, '--method', 'tent', '--state', tent);
  const bytes = readFileSync(tent);
  await refused(tent, /other\.safetensors: is the state of tent, not of cotta/);
  assert.deepEqual(readFileSync(tent), bytes);
  writeFileSync(broken, bytes.subarray(0, bytes.length - 9));
  await refused(broken, /broken\.safetensors/);
  await refused(join(model, 'model.safetensors'), /is the state of something else/);
});

test('a run that fails leaves neither state nor predictions', async () => {
  const [state, output] = ['failed.safetensors', 'failed.arrow'].map((name) => join(folder, name));
  const [first, second] = await arrowParts([fog.slice(0, 4), fog.slice(4)]);
  await assert.rejects(run(Buffer.concat([first, second.subarray(0, second.length - 40)]), ['--state', state, '-o', output]), { status: 65 });
  assert.deepEqual([existsSync(state), existsSync(output)], [false, false]);
});

test('a table without images is refused in one line', async () => {
  const { status, stderr } = graft(['tta', '-m', model], Buffer.from('{"text":"a"}\n'));
  assert.equal(status, 65);
  assert.match(stderr, /^graft tta: .*no column 'image'.*\n$/);
});
