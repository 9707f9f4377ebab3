// Builds the addon with AddressSanitizer and UBSan and runs the tests of kernels/ in it, or those named; the first report ends a test file, and fails it.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const compiler = process.env.CXX ?? 'g++';
const run = (command, args, options = {}) => spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });

const built = run('make', ['-s', '-j2', '-C', 'kernels', 'BUILD=build/asan', 'SANITIZE=1']);
if (built.status !== 0) process.exit(built.status ?? 1);
// node brings neither library; without the second the sanitizer does not see C++ exceptions thrown.
const libraries = ['libasan.so', 'libstdc++.so'].map((name) => run(compiler, [`-print-file-name=${name}`], { stdio: 'pipe' }).stdout.toString().trim());
const wanted = process.argv.length > 2 ? process.argv.slice(2) : ['kernels/dist/test'];
const tests = run(process.execPath, [join(root, 'bin/test.mjs'), ...wanted], {
  env: {
    ...process.env, GRAFT_ADDON: join(root, 'kernels/build/asan/graft_cpu.node'), LD_PRELOAD: libraries.join(' '),
    ASAN_OPTIONS: 'detect_leaks=0:halt_on_error=1:allocator_may_return_null=1', UBSAN_OPTIONS: 'print_stacktrace=1', // node itself leaks by design
  },
});
process.exit(tests.status ?? 1);
