// A day of adaptation as cron would run it: a stream in twenty runs that hand the state over, any of which may be killed. GRAFT_LONG=1: a million images.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Binary, makeData, Schema } from 'apache-arrow';
import { Rng } from '@graft/kernels/random';
import { rawField } from '../../src/data/import/images.js';
import { ArrowWriter, readArrow } from '../../src/formats/arrow.js';
import { writeOutput } from '../../src/formats/output.js';
import { assemble } from '../../src/formats/rows.js';
import { LONG } from '../support/long.js';
import { scratch } from '../support/tiny.js';
import { SIZE, tinyResnet } from './support.js';

const GRAFT = fileURLToPath(new URL('../../../bin/graft.js', import.meta.url));
const RUNS = LONG ? 20 : 3, IMAGES = LONG ? 1_000_000 : 1200, BATCH = LONG ? 200 : 50;
/** Of the images of a batch that lie one behind the other. */
const OFFSETS = Int32Array.from({ length: BATCH + 1 }, (_, i) => i * SIZE * SIZE * 3);
const folder = scratch(), rng = new Rng('soak', Number(process.env.SOAK_SEED ?? 0));

/** Noise whose brightness drifts: part `p` of the stream, a batch at a time so that memory stays small. */
async function part(p: number): Promise<string> {
  const path = join(folder, `part${p}.arrow`), schema = new Schema([rawField('image', [SIZE, SIZE, 3])]), rows = IMAGES / RUNS;
  let state = 12345 + p;
  await writeOutput(path, async (out) => {
    const writer = new ArrowWriter(out, schema);
    for (let first = 0; first < rows; first += BATCH) {
      const light = 128 + 60 * Math.sin((p + first / rows) / 3);
      const bytes = Uint8Array.from({ length: BATCH * SIZE * SIZE * 3 }, () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return light + ((state >>> 24) - 128) / 3;
      });
      await writer.write(assemble(schema, [makeData({ type: new Binary(), length: BATCH, nullCount: 0, valueOffsets: OFFSETS, data: bytes })], BATCH));
    }
    await writer.close();
  });
  return path;
}

interface Ended { status: number | null; memory: number[]; seconds: number }

/** Runs `graft tta`, feeding it files in turn; after `killAfter` seconds it is killed. Memory is read ten times a second, in MB. */
async function tta(options: readonly string[], parts: readonly string[], killAfter = Infinity): Promise<Ended> {
  const child = spawn(process.execPath, [GRAFT, 'tta', '-q', '--batch-size', String(BATCH), '--threads', '1', ...options], { stdio: ['pipe', 'inherit', 'inherit'] });
  const began = performance.now(), memory: number[] = [], seconds = (): number => (performance.now() - began) / 1000;
  const closed = once(child, 'close') as Promise<[number | null]>;
  const timer = setInterval(() => {
    const status = existsSync(`/proc/${child.pid}/status`) ? readFileSync(`/proc/${child.pid}/status`, 'utf8') : '';
    const found = /VmRSS:\s*(\d+)/.exec(status);
    if (found) memory.push(Number(found[1]) / 1000);
    if (seconds() > killAfter) child.kill('SIGKILL');
  }, 100);
  const killed = once(child.stdin, 'error').catch(() => {}); // writing to the dead
  for (const path of parts) {
    for (const chunk of chunks(readFileSync(path))) if (!child.stdin.write(chunk)) await Promise.race([drained(child.stdin), killed, closed]);
  }
  child.stdin.end();
  const [status] = await closed;
  clearInterval(timer);
  return { status, memory, seconds: seconds() };
}

const drained = (stream: Writable): Promise<void> => new Promise((go) => {
  stream.removeAllListeners('drain');
  stream.once('drain', go);
});

function* chunks(bytes: Buffer): Generator<Buffer> {
  for (let i = 0; i < bytes.length; i += 1 << 16) yield bytes.subarray(i, i + (1 << 16));
}

/** The logits of a file of predictions, in the order of the stream. */
async function logitsOf(path: string): Promise<Float32Array[]> {
  const { batches } = await readArrow(path, (async function* () { yield readFileSync(path); })()), found: Float32Array[] = [];
  for await (const batch of batches) {
    const column = batch.getChild('logits')!;
    for (let i = 0; i < batch.numRows; i++) found.push(Float32Array.from(column.get(i) as Iterable<number>));
  }
  return found;
}

test(`${IMAGES} images in ${RUNS} runs that are killed at random give the predictions of one undisturbed run, in flat memory`, { timeout: 3_600_000 }, async (t) => {
  const model = tinyResnet(folder), method = ['-m', model, '--method', 'tent', '--lr', '0.001'], state = join(folder, 'state.safetensors');
  const parts: string[] = [];
  for (let p = 0; p < RUNS; p++) parts.push(await part(p));
  const joined = join(folder, 'joined.arrow');
  await concatenated(parts, joined);
  const whole = await tta([...method, '-o', join(folder, 'whole.arrow')], [joined]);
  assert.equal(whole.status, 0);
  rmSync(joined);
  let kills = 0, slowest = 1;
  for (const [p, path] of parts.entries()) {
    const options = [...method, '--state', state, '-o', join(folder, `predictions${p}.arrow`)];
    for (let tries = 0; ; tries++) {
      const { status, seconds } = await tta(options, [path], tries < 2 && rng.uniform() < 0.7 ? rng.uniform(0, slowest) : Infinity);
      if (status === 0) { slowest = Math.max(slowest, seconds); break; }
      assert.equal(status, null, 'a run ends well or is killed');
      kills++;
    }
  }
  const expected = await logitsOf(join(folder, 'whole.arrow'));
  let at = 0;
  for (let p = 0; p < RUNS; p++) for (const z of await logitsOf(join(folder, `predictions${p}.arrow`))) assert.deepEqual(z, expected[at++], `image ${at}`);
  assert.equal(at, IMAGES);
  // A collector frees when it likes, and so does the system: what grows shows in what is usual, quarter by quarter.
  const [, second, third, last] = [0, 1, 2, 3].map((q) => median(whole.memory.slice((q * whole.memory.length) >> 2, ((q + 1) * whole.memory.length) >> 2)));
  t.diagnostic(`${kills} kills; undisturbed: ${whole.seconds.toFixed(0)} s, memory in the second, third and last quarter ${[second, third, last].map((m) => m.toFixed(0)).join(', ')} MB`);
  if (LONG) assert.ok(kills > 0 && last < second * 1.1 + 8, `memory from ${second} to ${last} MB`);
});

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1];

/** One Arrow stream of several. */
async function concatenated(paths: readonly string[], to: string): Promise<void> {
  const child = spawn(process.execPath, [GRAFT, 'data', 'concat', '-q', ...paths], { stdio: ['ignore', 'pipe', 'inherit'] });
  child.stdout.pipe(createWriteStream(to));
  const [status] = await once(child, 'close') as [number];
  assert.equal(status, 0);
}
