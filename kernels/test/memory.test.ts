import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { memoryLimit } from '../src/machine.js';
import { native } from '../src/native.js';
import { script } from './emulator.js';

const skip = !native() || process.env.GRAFT_ADDON ? 'the native backend, or its usual build, is not there' : false;
const START = "const { useBackend, tf } = await import(SRC + 'index.js'); await useBackend('cpu');";
const TRY = 'try { tf.zeros([50 << 18]); } catch (error) { console.log(error.message); }';

test('tensors beyond the limit are an error that says how much was wanted, after what was kept for reuse has been given back', { skip }, () => {
  const { status, stdout, stderr } = script(`${START}
    for (let i = 0; i < 6; i++) tf.zeros([(30 + i) << 18]).dispose(); // 30 MiB each, of different sizes: more than the limit together
    const held = tf.zeros([20 << 18]);
    ${TRY}
    held.dispose();
    const { live, cached } = tf.memory();
    tf.zeros([50 << 18]);
    console.log(live + cached <= 64 << 20);`, { ...process.env, GRAFT_MEMORY: '64' });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^out of memory: 5\d MiB more do not fit beside 20 MiB in use, of 64 MiB\ntrue\n$/);
});

test('memory that the system does not give is the same error', { skip: skip || process.platform !== 'linux' }, () => {
  const source = `const SRC = ${JSON.stringify(fileURLToPath(new URL('../src/', import.meta.url)))}; ${START}
    try { tf.tile(tf.ones([2 ** 20]), [2 ** 12]); } catch (error) { console.log(error.message); }
    console.log(tf.add(tf.ones([4]), 1).dataSync().join());`;
  const { stdout, stderr } = spawnSync('sh', ['-c', 'ulimit -v 12000000 && exec "$0" --input-type=module -e "$1"', process.execPath, source], { encoding: 'utf8', env: { ...process.env, GRAFT_MEMORY: '100000' } });
  assert.match(stdout, /^out of memory: 16384 MiB more do not fit beside \d+ MiB in use, of 100000 MiB\n2,2,2,2\n$/, stderr);
});

test('the limit is what GRAFT_MEMORY says, or what the machine has', () => {
  assert.equal(memoryLimit({ GRAFT_MEMORY: '1.5' }), 1.5 * 2 ** 20);
  assert.ok(memoryLimit({}) > 2 ** 28);
  assert.equal(memoryLimit({ GRAFT_MEMORY: 'much' }), memoryLimit({}));
});
