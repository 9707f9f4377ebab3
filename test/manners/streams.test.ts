import assert from 'node:assert/strict';
import { openSync, closeSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { scratch } from '../support/tiny.js';
import { cases, each, graftRun, GRAFT, onTerminal, shell, telling, type Case, type Ended } from './cases.js';

const folder = scratch();
let all: Case[] = [];
before(async () => { all = await cases(folder); });

const single = (e: Ended, name: string): void => assert.equal(e.stderr.trim().split('\n').length, 1, `${name}: ${e.stderr}`);
const toStdout = (): Case[] => all.filter((c) => c.makes !== 'directory');

describe('every command', { concurrency: 1 }, () => {
  test('ends quietly when its reader goes away', async () => {
    await each(toStdout(), async (c) => {
      const e = await graftRun(c.args, { input: c.stdin, then: (child) => child.stdout!.destroy() });
      assert.deepEqual([e.status, e.stderr], [0, ''], c.name);
    });
  });

  test('says so, with status 74, when standard output takes no more', async () => {
    await each(telling(toStdout()), async (c) => {
      const full = openSync('/dev/full', 'w');
      const e = await graftRun(c.args, { input: c.stdin, stdout: full });
      closeSync(full);
      assert.equal(e.status, 74, `${c.name}: ${e.stderr}`);
      assert.match(e.stderr, /standard output: writing failed: no space left/, c.name);
      single(e, c.name);
    });
  });

  test('refuses an empty standard input, with status 65', async () => {
    await each(all.filter((c) => c.stdin), async (c) => {
      const e = await graftRun([...c.args, ...(c.makes === 'directory' ? ['-o', join(folder, 'empty')] : [])]);
      assert.equal(e.status, 65, `${c.name}: ${e.stderr}`);
      assert.match(e.stderr, /standard input: .*(empty|no rows|nothing)/, c.name);
      single(e, c.name);
      assert.deepEqual(c.makes === 'text' ? e.stdout.length : 0, 0);
    });
  });

  test('refuses a standard input that is cut short and leaves an older output as it is', async () => {
    const outputs = scratch();
    await each(all.filter((c) => c.stdin && !c.lines && c.makes !== 'print'), async (c) => {
      const target = join(outputs, c.name.replaceAll(' ', '-'));
      if (c.makes !== 'directory') writeFileSync(target, 'older');
      const e = await graftRun([...c.args, '-o', target], { input: c.stdin!.subarray(0, c.stdin!.length >> 1) });
      assert.equal(e.status, 65, `${c.name}: ${e.stderr}`);
      assert.match(e.stderr, /cut short/, c.name);
      single(e, c.name);
      if (c.makes !== 'directory') assert.equal(readFileSync(target, 'utf8'), 'older', c.name);
    });
    assert.deepEqual(readdirSync(outputs).filter((f) => f.startsWith('.')), []);
  });

  test('takes a terminal for no standard input and spares it binary output', async () => {
    await each(all.filter((c) => c.makes === 'binary'), async (c) => {
      writeFileSync(join(folder, `${c.name}.in`), c.stdin ?? '');
      const e = await onTerminal(`${shell([process.execPath, GRAFT, ...c.args])} < ${shell([join(folder, `${c.name}.in`)])}`);
      assert.equal(e.status, 64, `${c.name}: ${e.stdout}`);
      assert.match(e.stdout.toString(), /refusing to write binary data to a terminal: .*--output FILE/, c.name);
    });
    const e = await onTerminal(`${shell([process.execPath, GRAFT, 'data', 'head'])} > /dev/null`);
    assert.equal(e.status, 64);
    assert.match(e.stdout.toString(), /standard input is a terminal/);
  });
});

test('head ends before the program that feeds it', async () => {
  const c = all.find(({ name }) => name === 'data head')!;
  const e = await graftRun(['data', 'head', '-n', '1'], { input: c.stdin, open: true });
  assert.equal(e.status, 0, e.stderr);
  assert.ok(e.stdout.length > 0);
});

test('two streams one after the other are not taken for the first alone', async () => {
  const { stdin } = all.find(({ name }) => name === 'data head')!;
  const e = await graftRun(['data', 'select'], { input: Buffer.concat([stdin!, stdin!]) });
  assert.equal(e.status, 65);
  assert.match(e.stderr, /more follows the end of the Arrow data; graft data concat/);
});

test('help and version are written or fail as anything else is', async () => {
  for (const args of [['--help'], ['--version'], ['train', '--help']]) {
    const full = openSync('/dev/full', 'w');
    assert.equal((await graftRun(args, { stdout: full })).status, 74);
    closeSync(full);
    assert.deepEqual((await graftRun(args, { then: (child) => child.stdout!.destroy() })).stderr, '');
  }
});
