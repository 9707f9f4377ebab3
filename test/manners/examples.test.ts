import assert from 'node:assert/strict';
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { must, scratch } from '../support/tiny.js';
import { GRAFT, run } from './cases.js';

const FIXTURES = fileURLToPath(new URL('../../../fixtures/', import.meta.url));

test('the Makefile makes everything once, and after a change only what it concerns', async () => {
  const folder = scratch(), model = join(folder, 'encoder'), build = join(folder, 'build');
  cpSync(join(FIXTURES, 'encoder'), model, { recursive: true });
  const make = async (...more: string[]): Promise<string> => {
    const { status, stdout, stderr } = await run('make', ['-C', join(FIXTURES, 'examples'), `MODEL=${model}`, `B=${build}`, `GRAFT=${process.execPath} ${GRAFT}`, ...more]);
    assert.equal(status, 0, stderr);
    return stdout.toString();
  };
  const made = (said: string): string[] => [...said.matchAll(/graft\.js ([\w-]+)/g)].map((m) => m[1]);
  assert.deepEqual(made(await make()).sort(), ['data', 'data', 'eval', 'eval', 'init-adapter', 'merge', 'train']);
  assert.deepEqual(readdirSync(build).filter((f) => f.startsWith('.')), []);
  assert.deepEqual(made(await make()), []);
  const touch = async (file: string): Promise<string[]> => {
    const later = Date.now() / 1000 + 60;
    utimesSync(file, later, later);
    return made(await make('-n')).sort();
  };
  assert.deepEqual(await touch(join(build, 'test.arrow')), ['eval', 'eval']);
  assert.deepEqual(await touch(join(model, 'tokenizer.json')), ['eval', 'eval', 'merge', 'train'], 'what make could not know but for --deps');
  assert.deepEqual(await touch(join(model, 'model.safetensors')), ['eval', 'eval', 'init-adapter', 'merge', 'train']);
});

test('the crontab line, run twice at a time, goes through the state one run after the other', async () => {
  const shop = scratch(), bin = join(shop, 'bin');
  for (const name of ['inbox', 'predictions', 'log', 'bin']) mkdirSync(join(shop, name));
  symlinkSync(join(FIXTURES, 'resnet'), join(shop, 'resnet'));
  writeFileSync(join(bin, 'graft'), `#!/bin/sh\nexec '${process.execPath}' '${GRAFT}' "$@"\n`);
  chmodSync(join(bin, 'graft'), 0o755);
  must(['data', 'make', 'shapes10', '-n', '400', '-o', join(shop, 'inbox', 'today.arrow')]);
  const lines = readFileSync(join(FIXTURES, 'examples', 'crontab'), 'utf8').split('\n').filter((l) => /^[\d*]/.test(l));
  assert.equal(lines.length, 1);
  const command = lines[0].split(/\s+/).slice(5).join(' ').replaceAll('\\%', '%'); // as cron takes it apart
  const env = { SHOP: shop, PATH: `${bin}:${process.env.PATH}` };
  const ended = await Promise.all([0, 1].map(() => run('/bin/sh', ['-c', command], { env })));
  for (const { status, stderr, stdout } of ended) assert.deepEqual([status, stderr, stdout.toString()], [0, '', ''], 'cron would mail what is said');
  const [log] = readdirSync(join(shop, 'log'));
  const steps = readFileSync(join(shop, 'log', log), 'utf8').trim().split('\n').map((l) => JSON.parse(l).step);
  assert.deepEqual(steps, [2, 3], 'the second run goes on from the first');
  assert.deepEqual(readdirSync(shop).sort(), ['bin', 'inbox', 'log', 'predictions', 'resnet', 'tent.safetensors']);
});
