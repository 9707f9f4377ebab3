import type { Socket } from 'node:net';
import { Field, FixedSizeList, Float32, Int32, RecordBatchStreamWriter, Schema, Binary, Utf8, type RecordBatch } from 'apache-arrow';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { once } from 'node:events';
import { batchOf, type Row } from '../../src/formats/rows.js';
import { GRAFT } from './cases.js';

/** Schema, one batch and end of an Arrow stream, as bytes. */
interface Parts { schema: Uint8Array; batch: Uint8Array; end: Uint8Array; rows: number }

function partsOf(batch: RecordBatch): Parts {
  const bytes = (batches: RecordBatch[]): Uint8Array => {
    const writer = new RecordBatchStreamWriter();
    writer.reset(undefined, batch.schema);
    for (const b of batches) writer.write(b);
    writer.finish();
    return writer.toUint8Array(true);
  };
  const none = bytes([]), one = bytes([batch]);
  const end = none.subarray(none.length - 8), schema = none.subarray(0, none.length - 8);
  return { schema, batch: one.subarray(schema.length, one.length - 8), end, rows: batch.numRows };
}

/** Raw pictures of 8 × 8 with labels. */
export const pictures = (): Parts => partsOf(batchOf(
  new Schema([new Field('image', new Binary(), false, new Map([['shape', '8,8,3']])), new Field('label', new Int32()), new Field('domain', new Utf8())]),
  Array.from({ length: 2000 }, (_, i): Row => ({ image: Uint8Array.from({ length: 192 }, (_, k) => (i * 7 + k * 13) % 256), label: i % 4, domain: 'fog' }))));

/** Predictions of 1000 classes. */
export const predictions = (): Parts => partsOf(batchOf(
  new Schema([new Field('label', new Int32()), new Field('logits', new FixedSizeList(1000, new Field('item', new Float32()))), new Field('pred', new Int32()), new Field('batch', new Int32())]),
  Array.from({ length: 256 }, (_, i): Row => ({ label: i % 1000, logits: Float32Array.from({ length: 1000 }, (_, k) => (k * 31 + i) % 97), pred: i, batch: 0 }))));

/** Large rows of text. */
export const texts = (): Parts => partsOf(batchOf(
  new Schema([new Field('text', new Utf8()), new Field('label', new Int32())]), Array.from({ length: 500 }, (_, i): Row => ({ text: `word${i} `.repeat(1000), label: i % 3 }))));

/** Prompts of a hundred words. */
export const prompts = (): Parts => partsOf(batchOf(new Schema([new Field('prompt', new Utf8())]), Array.from({ length: 100 }, (_, i): Row => ({ prompt: `w${i % 40} `.repeat(100) }))));

async function pour({ schema, batch, end }: Parts, bytes: number, into: Writable): Promise<void> {
  const closed = once(into, 'close');
  const put = async (piece: Uint8Array): Promise<void> => { if (!into.write(piece)) await Promise.race([once(into, 'drain'), closed]); };
  await put(schema);
  for (let sent = 0; sent < bytes && !into.destroyed; sent += batch.length) await put(batch);
  into.end(end);
}

/** Resident memory of a process in MB. */
function resident(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

export interface Flooded { status: number | null; stderr: string; out: number; text: string; sent: number; seconds: number; /** Largest resident memory in each tenth of the stream, in MB. */ tenths: number[] }

/** Sends a stream of `bytes` bytes through graft while its memory is watched. */
export async function flood(args: readonly string[], parts: Parts, bytes: number): Promise<Flooded> {
  const began = performance.now();
  const child = spawn(process.execPath, [GRAFT, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const tenths: number[] = Array<number>(10).fill(0);
  let out = 0, stderr = '', text = '', sent = 0;
  (child.stdout as Readable).on('data', (b: Buffer) => {
    out += b.length;
    if (text.length < 4000) text += b.toString('latin1');
  });
  child.stderr.on('data', (b: Buffer) => { stderr += b; });
  child.stdin.on('error', () => undefined);
  const timer = setInterval(() => {
    sent = (child.stdin as Socket).bytesWritten;
    const tenth = Math.min(9, Math.floor((10 * sent) / bytes));
    try { tenths[tenth] = Math.max(tenths[tenth], resident(child.pid!)); } catch { /* it has ended */ }
  }, 20);
  const closed = once(child, 'close');
  await pour(parts, bytes, child.stdin);
  const [status] = await closed;
  clearInterval(timer);
  return { status, stderr, out, text, sent, seconds: (performance.now() - began) / 1000, tenths };
}
