import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readGraft } from '../../src/formats/graft.js';
import { placeOf, shareOf } from '../../src/training/ranks.js';
import { jsonLines, must, scratch, tinyBert, tinyRows } from '../support/tiny.js';

const root = fileURLToPath(new URL('../../../', import.meta.url)), own = scratch(), folder = join(root, 'kernels/build/emulator');
const made = spawnSync('make', ['-s', '-j2', '-C', join(root, 'kernels'), 'emulator'], { encoding: 'utf8' });
const emulated = made.status === 0 && existsSync(join(folder, 'libnccl.so.2'));
const model = tinyBert(own), data = jsonLines(join(own, 'rows.jsonl'), tinyRows(21, 1)), start = join(own, 'start');
must(['init-adapter', '-m', model, '--method', 'lora', '--target-modules', 'all-linear', '--task', 'classify', '--labels-from', data, '-o', start]);

let next = 0;
interface Ended { status: number | null; stderr: string }
/** Starts the processes of a run, each with what a launcher tells it and arguments of its own. */
function launch(size: number, args: readonly string[], { env = {}, each = () => [] }: { env?: NodeJS.ProcessEnv; each?: (rank: number) => string[] } = {}): { children: ChildProcess[]; ended: Promise<Ended>[] } {
  const port = 31000 + (process.pid * 7 + 13 * next++) % 9000;
  const children = Array.from({ length: size }, (_, rank) => spawn(process.execPath, [join(root, 'bin/graft.js'), ...args, ...each(rank)], {
    stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, RANK: `${rank}`, WORLD_SIZE: `${size}`, LOCAL_RANK: `${rank}`, MASTER_PORT: `${port}`, ...env },
  }));
  const ended = children.map((child) => new Promise<Ended>((resolve) => {
    let stderr = '';
    child.stderr!.on('data', (text: Buffer) => { stderr += text.toString(); });
    child.once('close', (status) => resolve({ status, stderr }));
  }));
  return { children, ended };
}

const train = (out: string, ...more: string[]): string[] => ['train', '-m', model, '-g', start, '-d', data, '--lr', '1e-2', '--steps', '6', '--batch-size', '8', '--backbone-dropout', 'off', '--valid-share', '0.2', '--eval-every', '2', '-o', join(own, out), '--log', join(own, `${out}.log`), ...more];

async function near(actual: string, expected: string): Promise<void> {
  const [a, e] = await Promise.all([actual, expected].map((name) => readGraft(join(own, name))));
  assert.deepEqual([...a.tensors.keys()], [...e.tensors.keys()]);
  for (const [name, { data: bytes }] of e.tensors) {
    const [x, y] = [a.tensors.get(name)!.data, bytes].map((d) => new Float32Array(d.buffer.slice(d.byteOffset, d.byteOffset + d.byteLength)));
    y.forEach((v, i) => assert.ok(Math.abs(x[i] - v) <= 2e-4 * (1 + Math.abs(v)), `${name}[${i}]: ${x[i]}, not ${v}`));
  }
  const events = [actual, expected].map((name) => readFileSync(join(own, `${name}.log`), 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>));
  assert.deepEqual(events[0].map((e) => [e.event, e.step]), events[1].map((e) => [e.event, e.step]));
  events[1].forEach((e, i) => { if (typeof e.loss === 'number') assert.ok(Math.abs(e.loss - (events[0][i].loss as number)) < 1e-4); });
}

for (const [backend, size, env] of [['cpu', 2, {}], ['cpu', 3, {}], ['cuda', 2, {}], ['cuda', 2, { GRAFT_NCCL: 'none' }]] as [string, number, NodeJS.ProcessEnv][]) {
  const how = backend === 'cpu' ? '' : env.GRAFT_NCCL ? ', without NCCL' : ', through NCCL';
  test(`${size} processes train as one: ${backend}${how}`, { skip: backend === 'cuda' && !emulated }, async () => {
    const one = `one-${backend}`, many = `many-${backend}-${size}${how}`, on = { GRAFT_CUDA: folder, XDG_CACHE_HOME: own, ...env };
    // Batches of 8, 8 and 1 of 17 rows: of the last one all ranks but the first have nothing.
    if (!existsSync(join(own, one))) for (const { status, stderr } of await Promise.all(launch(1, train(one, '--backend', backend), { env: on }).ended)) assert.equal(status, 0, stderr);
    const ended = await Promise.all(launch(size, train(many, '--backend', backend), { env: on }).ended);
    for (const { status, stderr } of ended) assert.equal(status, 0, stderr);
    assert.equal(ended.slice(1).map((e) => e.stderr).join(''), '', 'rank 0 alone speaks');
    if (env.GRAFT_NCCL) assert.match(ended[0].stderr, /^graft: libnccl\.so\.2 was not found/);
    await near(many, one);
  });
}

test('each of several processes records its gradients as CUDA graphs: the same bytes', { skip: !emulated }, async () => {
  // Texts of one length: 16 rows are batches of 8, 8 and 1, of which the last gives the second rank nothing.
  const even = jsonLines(join(own, 'even.jsonl'), tinyRows(21, 1).map(({ text, label }) => ({ text: text.split(' ').slice(0, 2).join(' '), label })));
  const run = async (out: string, ...more: string[]): Promise<void> => {
    const ended = await Promise.all(launch(2, train(out, '--backend', 'cuda', '-d', even, '--steps', '9', ...more), { env: { GRAFT_CUDA: folder, XDG_CACHE_HOME: own } }).ended);
    for (const { status, stderr } of ended) assert.equal(status, 0, stderr);
  };
  await run('ungraphed');
  await run('graphed', '--cuda-graphs');
  const [plain, graphs] = await Promise.all(['ungraphed', 'graphed'].map((name) => readGraft(join(own, name))));
  assert.deepEqual(graphs.tensors, plain.tensors);
  assert.match(readFileSync(join(own, 'graphed.log'), 'utf8'), /"event":"graphs".*"recorded":2,"repeated":[4-9]/);
});

const mpi = spawnSync('mpirun', ['--version'], { encoding: 'utf8' });
test('mpirun starts two processes that train as one', { skip: mpi.status === 0 ? false : 'no mpirun here (Debian: openmpi-bin)' }, async () => {
  const env = { ...process.env, OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1', OMPI_MCA_rmaps_base_oversubscribe: '1' };
  const alone = must(train('alone', '--backend', 'cpu'));
  assert.equal(alone.length, 0);
  const { status, stdout, stderr } = spawnSync('mpirun', ['-n', '2', process.execPath, join(root, 'bin/graft.js'), ...train('mpirun', '--backend', 'cpu')], { encoding: 'utf8', env });
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
  await near('mpirun', 'alone');
});

test('a rank that dies ends the others, with one line', { timeout: 300_000 }, async () => {
  for (const [backend, dies] of [['cpu', 2], ['cpu', 0], ...(emulated ? [['cuda', 1]] : [])] as [string, number][]) {
    const out = `dead-${backend}-${dies}`, log = join(own, `${out}.log`);
    const { children, ended } = launch(3, train(out, '--steps', '100000', '--backend', backend), { env: { GRAFT_CUDA: folder, XDG_CACHE_HOME: own } });
    const timer = setInterval(() => {
      if (!existsSync(log) || !readFileSync(log, 'utf8').includes('"step":3')) return;
      clearInterval(timer);
      children[dies].kill('SIGKILL');
    }, 20);
    const all = await Promise.all(ended), left = all.filter((_, rank) => rank !== dies);
    assert.deepEqual(left.map((e) => e.status), [1, 1], left.map((e) => e.stderr).join(''));
    assert.equal(left.map((e) => e.stderr).join(''), `graft train: rank ${dies} ended before the others\n`);
    assert.ok(!existsSync(join(own, out)));
  }
});

test('a signal to one of them ends all after the same step; what they keep is taken up again, with the same bytes', { timeout: 300_000 }, async () => {
  const steps = ['--steps', '40'], keep = ['--checkpoint', join(own, 'kept'), '--resume'];
  const run = async (out: string, more: string[], signal = false): Promise<Ended[]> => {
    const { children, ended } = launch(2, train(out, ...steps, ...more)), log = join(own, `${out}.log`);
    const timer = signal && setInterval(() => {
      if (!existsSync(log) || !readFileSync(log, 'utf8').includes('"step":3')) return;
      clearInterval(timer as NodeJS.Timeout);
      children[1].kill('SIGTERM');
    }, 5);
    const all = await Promise.all(ended);
    if (timer) clearInterval(timer);
    return all;
  };
  assert.deepEqual((await run('whole', [])).map((e) => e.status), [0, 0]);
  assert.deepEqual((await run('parted', keep, true)).map((e) => e.status), [143, 143]);
  assert.deepEqual((await run('parted', keep)).map((e) => e.status), [0, 0]);
  const [whole, parted] = await Promise.all(['whole', 'parted'].map((name) => readGraft(join(own, name))));
  assert.deepEqual(parted.tensors, whole.tensors);
});

test('what does not fit together is one line', async () => {
  const different = await Promise.all(launch(2, train('different'), { each: (rank) => ['--clip', `${rank + 1}`] }).ended);
  assert.deepEqual(different.map((e) => e.status), [1, 1]);
  for (const { stderr } of different) assert.equal(stderr, 'graft train: rank 1 has another command line or another number of ranks than rank 0\n');
  const piped = await Promise.all(launch(2, ['train', '-m', model, '-d', data]).ended);
  assert.deepEqual(piped.map((e) => e.status), [64, 64]);
  assert.match(piped[0].stderr, /^graft train: 2 processes cannot share standard input: name --graft and --data files\n$/);
  const few = await Promise.all(launch(2, train('few', '--batch-size', '1')).ended);
  assert.match(few[0].stderr, /^graft train: --batch-size 1 for 2 processes: each needs a row of its own\n$/);
});

test('ranks are read from what launchers set', () => {
  const at = (env: Record<string, string>) => { const p = placeOf(env); return p && [p.rank, p.size, p.local, p.locals, p.host]; };
  assert.equal(at({}), null);
  assert.equal(at({ RANK: '0', WORLD_SIZE: '1' }), null);
  assert.deepEqual(at({ OMPI_COMM_WORLD_RANK: '3', OMPI_COMM_WORLD_SIZE: '4', OMPI_COMM_WORLD_LOCAL_RANK: '1', OMPI_COMM_WORLD_LOCAL_SIZE: '2', MASTER_ADDR: 'one' }), [3, 4, 1, 2, 'one']);
  assert.deepEqual(at({ PMI_RANK: '1', PMI_SIZE: '2' }), [1, 2, 1, 2, '127.0.0.1']);
  assert.deepEqual(at({ SLURM_PROCID: '1', SLURM_STEP_NUM_TASKS: '2', SLURM_LOCALID: '1', SLURM_NNODES: '1' }), [1, 2, 1, 2, '127.0.0.1']);
  assert.equal(at({ SLURM_PROCID: '0', SLURM_NTASKS: '8' }), null, 'a batch script runs alone');
  assert.throws(() => at({ RANK: '2', WORLD_SIZE: '2' }), /RANK=2 and WORLD_SIZE=2: no rank among so many processes/);
  assert.throws(() => at({ OMPI_COMM_WORLD_RANK: '0', OMPI_COMM_WORLD_SIZE: '4', OMPI_COMM_WORLD_LOCAL_SIZE: '2' }), /several machines: set MASTER_ADDR/);
  assert.throws(() => at({ RANK: '0', WORLD_SIZE: '2', MASTER_PORT: 'x' }), /MASTER_PORT=x: no port/);
  const ports = ['a', 'b'].map((id) => placeOf({ OMPI_COMM_WORLD_RANK: '0', OMPI_COMM_WORLD_SIZE: '2', PMIX_NAMESPACE: id })!.port);
  assert.notEqual(ports[0], ports[1]);
});

test('a batch is shared out evenly, each row once', () => {
  for (const [n, size] of [[8, 2], [7, 3], [1, 2], [2, 3]]) {
    const rows = Array.from({ length: n }, (_, i) => i), shares = Array.from({ length: size }, (_, rank) => shareOf(rows, { rank, size }));
    assert.deepEqual(shares.filter((s) => s.counts).flatMap((s) => s.rows), rows);
    assert.ok(shares.every((s) => s.rows.length > 0 && s.rows.length <= Math.ceil(n / size)) && shares[0].counts);
  }
});
