// Runs every built test with node's own runner; arguments narrow it to the files whose path contains one of them.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { globSync } from './glob.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const wanted = process.argv.slice(2);
const files = ['dist/test', 'kernels/dist/test']
  .flatMap((d) => globSync(join(root, d), '.test.js'))
  .filter((f) => wanted.length === 0 || wanted.some((w) => f.includes(w)));
if (files.length === 0) {
  console.error(`no built test's path contains ${wanted.join(' or ')}`);
  process.exit(64);
}
const run = spawnSync(process.execPath, ['--test', '--test-concurrency=2', '--test-reporter=spec', ...files], { stdio: 'inherit', cwd: root });
process.exit(run.status ?? 1);
