import assert from 'node:assert/strict';
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { cpSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { LONG } from './support/long.js';
import { jsonLines, scratch } from './support/tiny.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const json = (path: string): Record<string, any> => JSON.parse(readFileSync(join(root, path), 'utf8')); // eslint-disable-line @typescript-eslint/no-explicit-any
const long = LONG ? false : 'takes minutes: npm run test:long runs it';

function run(program: string, args: string[], options: { env?: NodeJS.ProcessEnv; cwd?: string; input?: string } = {}): SpawnSyncReturns<string> {
  return spawnSync(program, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26, ...options });
}

function must(program: string, args: string[], options: Parameters<typeof run>[2] = {}): string {
  const { status, stdout, stderr, error } = run(program, args, options);
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${error ?? `${stderr}${stdout.slice(-4000)}`}`);
  return stdout;
}

test('package.json lists every manual page, and what the kernels need', () => {
  const { man, dependencies, files } = json('package.json');
  assert.deepEqual(man, readdirSync(join(root, 'man')).sort().map((f) => `./man/${f}`));
  for (const [name, version] of Object.entries(json('kernels/package.json').dependencies)) assert.equal(dependencies[name], version, name);
  for (const path of files) assert.ok(path === 'kernels/prebuilt' || existsSync(join(root, path)), path);
});

test('what is built names the kernels by path: a tarball has no workspaces', () => {
  for (const file of readdirSync(join(root, 'dist/src'), { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.js'))) {
    assert.doesNotMatch(readFileSync(join(root, 'dist/src', file), 'utf8').replace(/^\/\/# sourceMappingURL.*$/m, ''), /from "@graft\//, file);
  }
});

test('a build without a compiler says so and succeeds', () => {
  const build = join(scratch(), 'build');
  const { status, stdout } = run('make', ['-s', '-C', 'kernels', `BUILD=${build}`, 'CXX=/nonexistent']);
  assert.equal(status, 0);
  assert.equal(stdout, 'graft: no C++ compiler found; the native backend is left out, WebAssembly takes over\n');
  assert.ok(!existsSync(build));
});

/** Trains for a step and measures. @returns what was said on standard error */
function pipeline(graft: string, env: NodeJS.ProcessEnv = process.env): { train: string; measured: string } {
  const folder = scratch(), model = join(root, 'fixtures/encoder');
  const data = jsonLines(join(folder, 'rows.jsonl'), [{ text: 'one', label: 'a' }, { text: 'two', label: 'b' }]);
  const at = (name: string): string => join(folder, name);
  must(graft, ['init-adapter', '-m', model, '--rank', '2', '--task', 'classify', '--labels', 'a,b', '-o', at('start')], { env });
  const trained = run(graft, ['train', '-m', model, '-g', at('start'), '-d', data, '--steps', '1', '--progress', 'none', '-o', at('done')], { env });
  assert.equal(trained.status, 0, trained.stderr);
  return { train: trained.stderr, measured: must(graft, ['eval', '-m', model, '-g', at('done'), '-d', data, '--metrics', 'accuracy', '-q'], { env }) };
}

test('without an addon that runs here WebAssembly takes over, and says so in one line', () => {
  const copy = scratch();
  for (const path of ['bin', 'dist/src', 'package.json', 'kernels/dist/src', 'kernels/package.json']) cpSync(join(root, path), join(copy, path), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  assert.match(must(join(copy, 'bin/graft.js'), ['--version']), /^backend: wasm$/m);
  const { train, measured } = pipeline(join(copy, 'bin/graft.js'));
  assert.match(train, /^graft: the native backend was not built[^\n]*WebAssembly[^\n]*\n$/);
  assert.match(measured, /"accuracy"/);
});

test('npm pack gives a package that installs globally: commands, manual, native backend; WebAssembly without it', { skip: long }, () => {
  const folder = scratch(), prefix = join(folder, 'prefix');
  const packed = must('npm', ['pack', '--silent', '--pack-destination', folder]).trim().split('\n').at(-1)!;
  must('npm', ['install', '--global', '--prefix', prefix, '--prefer-offline', '--no-audit', '--no-fund', join(folder, packed)], { cwd: folder });
  const graft = join(prefix, 'bin/graft');
  assert.match(must(graft, ['--help']), /Usage: graft COMMAND/);
  assert.match(must(graft, ['--version']), /^backend: graft-cpu$/m);
  const { train, measured } = pipeline(graft);
  assert.equal(train, '');
  assert.match(measured, /"accuracy"/);
  assert.match(must(graft, ['methods', 'tent']), /fixtures\/recipes\/tta-cifar\.mk/);
  for (const name of ['graft', 'graft-train']) assert.match(must('man', ['-M', join(prefix, 'share/man'), '-P', 'cat', name]), /NAME\n\s+graft/);
  rmSync(join(prefix, 'lib/node_modules/graft/kernels/prebuilt'), { recursive: true });
  assert.match(must(graft, ['--version']), /^backend: wasm$/m);
  // As on a machine the prebuilt addon does not suit: what npm ran after the installation builds one.
  must(process.execPath, [join(prefix, 'lib/node_modules/graft/bin/install.mjs')], { env: { ...process.env, CXX: '/nonexistent' } });
  assert.match(must(graft, ['--version']), /^backend: wasm$/m);
});

test('npm run pack:offline gives one archive that runs with Node and nothing else, and no network', { skip: long }, () => {
  const folder = scratch();
  const archive = must('npm', ['run', '--silent', 'pack:offline', '--', folder]).trim().split('\n').at(-1)!;
  assert.ok(statSync(archive).size < 60e6, `${statSync(archive).size} bytes`);
  must('tar', ['-xzf', archive, '-C', folder]);
  const unpacked = archive.replace(/\.tar\.gz$/, '');
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  symlinkSync(process.execPath, join(bin, 'node'));
  symlinkSync(join(unpacked, 'bin/graft'), join(bin, 'graft'));
  symlinkSync(must('sh', ['-c', 'command -v readlink']).trim(), join(bin, 'readlink'));
  const env = { PATH: bin, HOME: folder };
  assert.match(must(join(bin, 'graft'), ['--version'], { env }), /^backend: graft-cpu$/m);
  assert.equal(pipeline(join(unpacked, 'bin/graft'), env).train, '');
  const alone = run('unshare', ['-rn', join(unpacked, 'bin/graft'), 'data', 'make', 'topics', '-n', '2', '-o', join(folder, 'rows.arrow')], { env: { ...env, PATH: `${bin}:${process.env.PATH}` } });
  if (!/unshare|ENOENT/.test(`${alone.error ?? ''}${alone.stderr}`)) assert.equal(alone.status, 0, alone.stderr);
  assert.match(must(join(bin, 'graft'), ['plot', 'bars', '--metric', 'accuracy', '-o', join(folder, 'bars.png')], { env, input: '{"metric":"accuracy","value":1,"group":"x"}\n' }), /^$/);
  assert.match(must('man', ['-M', join(unpacked, 'share/man'), '-P', 'cat', 'graft']), /NAME\n\s+graft/);
  assert.ok(lstatSync(join(unpacked, 'share/bash-completion/completions/graft')).isFile());
  must('make', ['-s', '-j2', '-C', 'kernels', 'emulator']);
  const emulated = { ...env, GRAFT_CUDA: join(root, 'kernels/build/emulator') };
  assert.match(must(join(unpacked, 'bin/graft-test-gpu'), ['rates', 'kernels', '--limit', '3000'], { env: emulated }), /^kernels: attention +[1-9]\d* passed +0 failed[^]*^emulated GPU: \d+ passed, 0 failed, 0 skipped, 0 not finished/m);
  assert.match(must(join(unpacked, 'bin/graft-bench-gpu'), ['--tiny', 'full step'], { env }), /^full step bert-base 32×128 +tokens\/s +\d[^]*^1 of 1 done by graft/m);
  const none = run(join(unpacked, 'bin/graft'), ['--version'], { env: { PATH: dirname(join(bin, 'x/y')) } });
  assert.deepEqual([none.status, none.stderr], [1, 'graft: node is not on the path; Node 20.19 or later is needed\n']);
  cpSync(process.execPath, join(unpacked, 'lib/node')); // as --node brings it
  assert.match(must(join(unpacked, 'bin/graft'), ['--version'], { env: { PATH: '/nonexistent' } }), /^backend: graft-cpu$/m);
});

test('what pack:offline cannot take along is said', () => {
  const { status, stderr } = run(process.execPath, ['bin/pack-offline.mjs', '--node', '/nonexistent/node']);
  assert.deepEqual([status, stderr], [1, 'pack:offline: --node /nonexistent/node: there is no such file\n']);
});
