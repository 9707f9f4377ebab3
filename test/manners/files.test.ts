import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test, type TestContext } from 'node:test';
import { spawnSync } from 'node:child_process';
import { jsonLines, scratch, tinyRows } from '../support/tiny.js';
import { cases, each, GRAFT, graftRun, run, telling, type Case, type Ended } from './cases.js';

const folder = scratch();
let all: Case[] = [];
before(async () => {
  all = await cases(folder);
  mkdirSync(join(folder, 'place'));
});

const named = (name: string): Case => all.find((c) => c.name === name)!;
const withOutput = (): Case[] => all.filter((c) => c.makes !== 'print');
const hidden = (directory: string): string[] => readdirSync(directory).filter((f) => f.startsWith('.'));

/** Runs graft in a mount name space of its own, with a small file system of `options` at `place`, and lists that afterwards. */
async function onMount(place: string, options: string, args: readonly string[], input?: Buffer): Promise<Ended & { left: string }> {
  const script = 'mount -t tmpfs -o "$1" none "$2" && ( printf older > "$2/older" ) 2> /dev/null; shift 2; "$@"; s=$?; ls -A "$0"; cat "$0"/older 2> /dev/null; exit $s';
  const e = await run('unshare', ['-rm', 'sh', '-c', script, place, options, place, process.execPath, GRAFT, ...args], { input });
  return { ...e, left: e.stdout.toString() };
}

const canMount = spawnSync('unshare', ['-rm', 'sh', '-c', 'mount -t tmpfs none /mnt']).status === 0;
const needsMount = (t: TestContext): boolean => {
  if (!canMount) t.skip('no mount name spaces here');
  return canMount;
};

describe('every command', { concurrency: 1 }, () => {
  test('does not begin where its output cannot be made: no directory, a read-only one', async () => {
    await each(withOutput(), async (c) => {
      const e = await graftRun([...c.args, '-o', join(folder, 'absent', 'out')], { input: c.stdin });
      assert.equal(e.status, 74, `${c.name}: ${e.stderr}`);
      assert.match(e.stderr, /absent\/out: writing failed: its directory does not exist\n$/, c.name);
    });
    if (!canMount) return;
    await each([named('data head'), named('convert to peft'), named('eval with a model')], async (c) => {
      const e = await onMount(join(folder, 'place'), 'ro', [...c.args, '-o', join(folder, 'place', 'out')], c.stdin);
      assert.equal(e.status, 74, `${c.name}: ${e.stderr}`);
      assert.match(e.stderr, /out: writing failed: the file system is read-only\n$/, c.name);
    });
  });

  test('fails with status 74 on a full device, and on a full disk leaves nothing, and the older file as it was', async (t) => {
    await each(withOutput().filter((c) => c.makes !== 'directory'), async (c) => {
      const e = await graftRun([...c.args, '-o', '/dev/full'], { input: c.stdin });
      assert.equal(e.status, 74, `${c.name}: ${e.stderr}`);
      assert.match(e.stderr, /\/dev\/full: writing failed: no space left on the device\n$/, c.name);
    });
    if (!needsMount(t)) return;
    const place = join(folder, 'place');
    await each(telling(withOutput()).filter((c) => c.makes !== 'text'), async (c) => {
      const target = join(place, c.makes === 'directory' ? 'new' : 'older');
      const e = await onMount(place, 'size=8k', [...c.args, '-o', target], c.stdin);
      assert.equal(e.status, 74, `${c.name}: ${e.stderr}`);
      assert.match(e.stderr, /(new|older)(\/[\w.]+)?: writing failed: no space left on the device\n$/, c.name);
      assert.equal(e.left, 'older\nolder', c.name);
    });
  });

  test('says which input is not there, with status 66', async () => {
    await each(all, async (c) => {
      const files = c.args.map((a, i) => (i > 0 && a.startsWith(folder) ? i : -1)).filter((i) => i >= 0);
      const operand = c.args[0] === 'data' && c.args[1] !== 'make' || c.name.startsWith('convert to');
      const lines = [...files.map((i) => c.args.with(i, join(folder, 'absent'))), ...(operand ? [[...c.args, join(folder, 'absent')]] : [])];
      for (const args of lines) {
        const e = await graftRun([...args, ...(c.makes === 'directory' ? ['-o', join(folder, 'no')] : [])], { input: c.stdin });
        assert.equal(e.status, 66, `${args.join(' ')}: ${e.stderr}`);
        assert.match(e.stderr, /absent.*no such file or directory\n$/);
        assert.equal(e.stdout.length, 0);
      }
    });
    assert.ok(!existsSync(join(folder, 'no')));
  });

  test('writes the whole output under its name, tells make what it was made from, and is silent', async () => {
    const outputs = scratch();
    await each(withOutput(), async (c) => {
      const target = join(outputs, c.name.replaceAll(' ', '-'));
      const e = await graftRun([...c.args, '-o', target, '--deps', `${target}.d`], { input: c.stdin });
      assert.deepEqual([e.status, e.stdout.toString(), e.stderr], [0, '', ''], c.name);
      const [rule] = readFileSync(`${target}.d`, 'utf8').split('\n\n');
      assert.ok(rule.startsWith(target), `${c.name}: ${rule}`);
      for (const input of c.args.slice(1).filter((a) => a.startsWith(folder))) assert.ok(rule.includes(input), `${c.name}: ${input} in ${rule}`);
      if (c.args[0] !== 'data' && c.makes !== 'text') return; // a graft tells how it was made
      const piped = await graftRun(c.args, { input: c.stdin });
      assert.ok(piped.stdout.equals(readFileSync(target)), c.name);
    });
    assert.deepEqual(hidden(outputs), []);
  });
});

test('every output of a run that writes several fails as a whole', async (t) => {
  if (!needsMount(t)) return;
  const place = join(folder, 'place'), bert = join(folder, 'bert'), [texts, start, pictures] = ['texts.jsonl', 'start.safetensors', 'pictures.arrow'].map((f) => join(folder, f));
  const lines = [
    ['data', 'split', '--fraction', '0.5', pictures, join(place, 'a'), join(place, 'b')],
    ['eval', '-m', bert, '-g', start, '-d', texts, '--predictions', join(place, 'p'), '-o', join(place, 'older')],
    ['train', '-m', bert, '-g', start, '-d', texts, '--steps', '2', '--checkpoint', join(place, 'run'), '-o', '/dev/null'],
    ['train', '-m', bert, '-g', start, '-d', texts, '--steps', '80', '--log', join(place, 'log'), '-o', '/dev/null'],
    ['tta', '-m', join(folder, 'pictures', 'resnet'), '-d', pictures, '--state', join(place, 's'), '-o', '/dev/null'],
    ['tta', '-m', join(folder, 'pictures', 'resnet'), '-d', pictures, '--save-graft', join(place, 'g'), '-o', '/dev/null'],
  ];
  await each(lines, async (args) => {
    const e = await onMount(place, 'size=8k', args);
    assert.equal(e.status, 74, `${args[0]}: ${e.stderr}`);
    assert.match(e.stderr, /writing failed: no space left on the device\n$/);
    assert.match(e.left, /^(log\n)?older\n(run\n)?older$/, args.join(' '));
  });
});

test('outputs that name one file are refused', async () => {
  const c = named('tta'), out = join(folder, 'twice');
  const e = await graftRun([...c.args, '-o', out, '--state', out], { input: c.stdin });
  assert.equal(e.status, 64);
  assert.match(e.stderr, /--(output|state) and --(output|state) name the same file/);
});

test('a file that is replaced keeps its permissions, and a link what it points to', async () => {
  const c = named('data head'), [real, link] = ['real.arrow', 'link.arrow'].map((f) => join(folder, f));
  writeFileSync(real, 'older');
  chmodSync(real, 0o640);
  symlinkSync(real, link);
  assert.equal((await graftRun([...c.args, '-o', link], { input: c.stdin })).status, 0);
  assert.equal(statSync(real).mode & 0o777, 0o640);
  assert.ok(readFileSync(real).subarray(0, 4).equals(Buffer.from([255, 255, 255, 255])));
  assert.equal((await graftRun([...c.args, real, '-o', real])).status, 0, 'input and output may be one file');
});

test('a long name is no reason to fail', async () => {
  const c = named('data head');
  assert.equal((await graftRun([...c.args, '-o', join(folder, 'n'.repeat(250))], { input: c.stdin })).status, 0);
});

test('what a killed run left goes with the next that writes the same target, and what a running one has stays', async () => {
  const place = scratch(), out = join(place, 'out'), c = named('data head');
  const gone = spawnSync('true').pid;
  writeFileSync(join(place, `.out.${gone}-0.tmp`), 'left');
  mkdirSync(join(place, `.out.${gone}-1.tmp`));
  writeFileSync(join(place, `.out.${process.pid}-0.tmp`), 'at work');
  writeFileSync(join(place, `.other.${gone}-0.tmp`), 'another target');
  assert.equal((await graftRun([...c.args, '-o', out], { input: c.stdin })).status, 0);
  assert.deepEqual(hidden(place), [`.other.${gone}-0.tmp`, `.out.${process.pid}-0.tmp`]);
});

test('a directory lost between two renames, where names cannot be exchanged, comes back', async () => {
  const place = scratch(), target = join(place, 'model'), gone = spawnSync('true').pid;
  mkdirSync(join(place, `.model.${gone}-0.old`));
  writeFileSync(join(place, `.model.${gone}-0.old`, 'config.json'), '{}');
  const c = named('convert to peft');
  assert.equal((await graftRun([...c.args, '-o', target], { input: c.stdin!.subarray(0, 5000) })).status, 65);
  assert.deepEqual(readdirSync(place), [`.model.${gone}-0.old`], 'a run that does not come to writing leaves it');
  assert.equal((await graftRun([...c.args, '-o', target], { input: c.stdin, env: { GRAFT_ADDON: 'none' } })).status, 0);
  assert.deepEqual([hidden(place), readdirSync(target).sort()], [[], ['adapter_config.json', 'adapter_model.safetensors']]);
});

test('two runs that write one output at a time both succeed, and it is whole', async () => {
  const place = scratch(), rows = jsonLines(join(place, 'rows.jsonl'), tinyRows(3000, 4));
  const line = (seed: string): string[] => ['data', 'shuffle', '--seed', seed, rows, '-o', join(place, 'out')];
  const ended = await Promise.all(['1', '2', '1'].map((seed) => graftRun(line(seed))));
  assert.deepEqual(ended.map((e) => e.status), [0, 0, 0]);
  const wanted = await Promise.all(['1', '2'].map(async (seed) => (await graftRun(line(seed).slice(0, -2))).stdout));
  assert.ok(wanted.some((bytes) => bytes.equals(readFileSync(join(place, 'out')))));
  assert.deepEqual(hidden(place), []);
});
