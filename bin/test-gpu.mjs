// npm run test:gpu, on a machine with an NVIDIA GPU: what the emulator runs elsewhere runs on the card - the kernels' tests, TensorFlow.js's
// conformance suite, whole commands beside the CPU. Fails where any of it does.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AGAIN } from '../kernels/dist/test/again.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const run = (args, env) => spawnSync(process.execPath, args, { stdio: 'inherit', cwd: root, env: { ...process.env, ...env } }).status === 0;

const passed = [
  run(['--test', '--test-concurrency=1', '--test-reporter=spec', ...AGAIN.map((name) => join(root, 'kernels/dist/test', `${name}.test.js`))], { GRAFT_TEST_BACKEND: 'cuda' }),
  run([join(root, 'bin/conformance.mjs'), '--backend', 'graft-cuda']),
  run(['--test', '--test-reporter=spec', join(root, 'dist/test/cuda.test.js')], { GRAFT_TEST_GPU: '1' }),
];
process.exit(passed.every(Boolean) ? 0 : 1);
