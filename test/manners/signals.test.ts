import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { Rng } from '@graft/kernels/random';
import { LONG } from '../support/long.js';
import { graft, must, scratch } from '../support/tiny.js';
import { arrowParts, images, tinyResnet } from '../tta/support.js';
import { GRAFT, graftRun } from './cases.js';

const folder = scratch();
const at = (name: string): string => join(folder, name);

/** An encoder whose files take long enough to write that a signal meets them half way. */
const CONFIG = {
  architectures: ['BertModel'], model_type: 'bert', hidden_act: 'gelu', hidden_size: 256, initializer_range: 0.1, intermediate_size: 1024, layer_norm_eps: 1e-12,
  max_position_embeddings: 32, num_attention_heads: 4, num_hidden_layers: 4, pad_token_id: 0, type_vocab_size: 2, vocab_size: 80000,
};
writeFileSync(at('config.json'), JSON.stringify(CONFIG));
must(['init-model', '-c', at('config.json'), '-o', at('model')]);
must(['init-adapter', '-m', at('model'), '--method', 'full', '--task', 'mlm', '-o', at('full')]);
must(['data', 'make', 'shapes10', '-n', '600', '-o', at('shapes')]);
mkdirSync(at('resnet'));
const resnet = tinyResnet(at('resnet'));
const small = images(2000, 1).map((image, i) => ({ image, label: i % 4, domain: 'fog' }));
writeFileSync(at('stream'), Buffer.concat(await arrowParts([small.slice(0, 100), ...Array<typeof small>(40).fill(small.slice(100, 200))])));
must(['init-adapter', '-m', resnet, '--method', 'full', '-o', at('net')]);

/** Commands that write much, each to `out`. */
const LINES: Record<string, (out: string) => string[]> = {
  merge: (out) => ['merge', '-m', at('model'), '-g', at('full'), '-o', out, '-q'],
  data: (out) => ['data', 'corrupt', '--kind', 'fog,contrast', at('shapes'), '-o', out, '-q'],
  train: (out) => ['train', '-m', resnet, '-g', at('net'), '-d', at('stream'), '--objective', 'classify', '--steps', '6', '--checkpoint', `${out}.run`, '--checkpoint-every', '1', '--resume', '-o', out, '-q'],
};

/** Every byte of an output: a file's, or those of a directory's files with their names. */
const bytesOf = (path: string): string =>
  (existsSync(join(path, 'config.json')) ? readdirSync(path).sort().map((f) => `${f}\n${readFileSync(join(path, f), 'latin1')}`).join() : readFileSync(path, 'latin1'));

/** Runs a line to its end or until `ms` have passed. */
async function cut(args: readonly string[], signal: NodeJS.Signals, ms: number): Promise<{ status: number | null; signal: NodeJS.Signals | null }> {
  const child = spawn(process.execPath, [GRAFT, ...args], { stdio: 'ignore' });
  const ended = new Promise<{ status: number | null; signal: NodeJS.Signals | null }>((resolve) => child.once('close', (status, by) => resolve({ status, signal: by })));
  await Promise.race([setTimeout(ms), ended]);
  child.kill(signal);
  return ended;
}

/** A run without disturbance: the bytes of its output and how long it takes. */
async function calm(name: string): Promise<{ bytes: string; ms: number }> {
  const out = at(`${name}-calm`), began = performance.now();
  const { status, stderr } = await graftRun(LINES[name](out));
  assert.equal(status, 0, stderr);
  return { bytes: bytesOf(out), ms: performance.now() - began };
}

const KILLS = Number(process.env.GRAFT_KILLS ?? (LONG ? 34 : 3));

for (const name of Object.keys(LINES)) {
  test(`${name} killed at any moment: the output is absent, the older or the whole new one, and the next run clears up`, async () => {
    const { bytes, ms } = await calm(name), rng = new Rng(name, process.pid);
    const place = at(`${name}-kills`), out = join(place, 'out');
    mkdirSync(place);
    let older: string | null = null, ended = 0;
    for (let i = 0; i < KILLS; i++) {
      if ((await cut(LINES[name](out), 'SIGKILL', rng.uniform(0.1, 1.1) * ms)).status === 0) ended++;
      const found: string | null = existsSync(out) ? bytesOf(out) : null;
      assert.ok(found === older || found === bytes, `kill ${i + 1}: ${found?.length ?? 'no'} bytes`);
      older = found;
    }
    const last = await graftRun(LINES[name](out));
    assert.equal(last.status, 0, last.stderr);
    assert.equal(bytesOf(out), bytes);
    const left = readdirSync(place).filter((f) => f.startsWith('.')).concat(name === 'train' ? readdirSync(`${out}.run`).filter((f) => f.startsWith('.')) : []);
    assert.deepEqual(left, []);
    if (LONG) console.log(`${name}: ${KILLS} kills within ${Math.round(1.1 * ms)} ms, ${ended} of them after the end`);
  });
}

test('SIGINT, SIGTERM and SIGHUP while a large checkpoint is written: 130, 143, 129 and nothing left', async () => {
  for (const [signal, status] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]] as const) {
    const place = at(`signal-${signal}`);
    mkdirSync(place);
    // Writing takes milliseconds: a run that was done before its signal came is tried again.
    for (let tries = 0; ; tries++) {
      const child = spawn(process.execPath, [GRAFT, ...LINES.merge(join(place, 'out'))], { stdio: 'ignore' });
      const ended = new Promise((resolve) => child.once('close', resolve));
      const writing = (): boolean => readdirSync(place).some((f) => f.endsWith('.tmp') && readdirSync(join(place, f)).length > 0);
      while (child.exitCode === null && !writing()) await setTimeout(1);
      child.kill(signal);
      const found = await ended;
      if (existsSync(join(place, 'out')) && tries < 20) {
        rmSync(join(place, 'out'), { recursive: true });
        continue;
      }
      assert.equal(found, status);
      break;
    }
    assert.deepEqual(readdirSync(place), []);
  }
});

test('a generator that waits for nothing hears a signal', async () => {
  const place = at('generator');
  mkdirSync(place);
  const child = spawn(process.execPath, [GRAFT, 'data', 'make', 'topics', '-n', '3000000', '-o', join(place, 'out')], { stdio: 'ignore' });
  while (readdirSync(place).length === 0) await setTimeout(5);
  child.kill('SIGTERM');
  assert.equal(await new Promise((resolve) => child.once('close', resolve)), 143);
  assert.deepEqual(readdirSync(place), []);
});

test('a run whose reader stands still ends by a signal', async () => {
  const child = spawn(process.execPath, [GRAFT, 'data', 'make', 'topics', '-n', '3000000'], { stdio: ['ignore', 'pipe', 'ignore'] });
  await new Promise((resolve) => child.stdout.once('readable', resolve)); // and never read
  child.kill('SIGTERM');
  const [status, signal] = await new Promise<[number | null, string | null]>((resolve) => child.once('exit', (s, by) => resolve([s, by])));
  assert.ok(status === 143 || signal === 'SIGTERM');
  child.stdout.destroy();
});

test('a second run on a state or a checkpoint fails in a line, or waits; one that was killed is in nobody\'s way', async () => {
  const state = at('cron.safetensors');
  const line = ['tta', '-m', resnet, '--method', 'bn-adapt', '--batch-size', '100', '--state', state, '-q'];
  for (const env of [{}, { GRAFT_ADDON: 'none' }]) { // without the addon a file with the process number is the lock
    const first = spawn(process.execPath, [GRAFT, ...line], { stdio: ['pipe', 'ignore', 'inherit'], env: { ...process.env, ...env } });
    const over = new Promise((resolve) => first.once('close', resolve));
    while (!existsSync(at('.cron.safetensors.lock')) || readFileSync(at('.cron.safetensors.lock'), 'utf8') === '') await setTimeout(5);
    const second = await graftRun([...line, '-d', at('stream'), '-o', '/dev/null'], { env });
    assert.equal(second.status, 1);
    assert.match(second.stderr, new RegExp(`^graft tta: .*cron\\.safetensors: another run \\(process ${first.pid}\\) is at work on it; .*--wait SECONDS\\n$`));
    const waiting = graftRun([...line, '-d', at('stream'), '-o', '/dev/null', '--wait', '600'], { env });
    first.kill('SIGKILL');
    await over;
    assert.equal((await waiting).status, 0);
    assert.ok(existsSync(state) && !existsSync(at('.cron.safetensors.lock')));
  }
  const run = LINES.train(at('locked'));
  mkdirSync(at('locked.run'));
  const holder = spawnSync('flock', ['-x', at('locked.run/.training.safetensors.lock'), process.execPath, GRAFT, ...run]);
  assert.equal(holder.status, 1);
  assert.match(holder.stderr.toString(), /training\.safetensors: another run/);
  assert.equal(graft(run).status, 0);
});
