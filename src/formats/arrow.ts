import { AsyncByteQueue, CompressionType, Message, RecordBatch, RecordBatchFileWriter, RecordBatchReader, RecordBatchStreamWriter, Schema, type RecordBatchWriter } from 'apache-arrow';
import { dataError, GraftError } from '../errors.js';
import { checkBatch, checkMessage, checkSchema } from './arrow-check.js';
import { ByteReader } from './bytes.js';
import type { Output } from './output.js';

/** How Arrow IPC begins: a file with its magic, a stream with a length (after a continuation mark since version 0.15). */
export const isArrowFile = (head: Uint8Array): boolean => Buffer.from(head.subarray(0, 6)).toString('latin1') === 'ARROW1';
export const isArrowStream = (head: Uint8Array): boolean => {
  if (head.length < 8) return false;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const length = view.getInt32(0, true) === -1 ? view.getInt32(4, true) : view.getInt32(0, true);
  return length > 0 && length < MAX_MESSAGE && (view.getInt32(0, true) === -1 || length % 8 === 4);
};

const MAX_MESSAGE = 1 << 28;
/** Bytes of one batch; longer ones are no typed arrays. */
const MAX_BODY = 2 ** 32;

/** A stream of record batches being read. */
export interface BatchStream { schema: Schema; batches: AsyncGenerator<RecordBatch> }

/**
 * Reads Arrow IPC batch by batch. The file format is read as the stream it contains.
 * @throws GraftError (65) where it is empty, cut short (also at the border of two batches) or not Arrow
 */
export async function readArrow(name: string, bytes: AsyncIterable<Uint8Array>): Promise<BatchStream> {
  const body = { bytes: 0 };
  const reader = await guard(name, async () => {
    const opened = await (await RecordBatchReader.from(messages(name, bytes, body))).open();
    checkSchema(opened.schema);
    return opened;
  });
  async function* batches(): AsyncGenerator<RecordBatch> {
    for (;;) {
      const { done, value } = await guard(name, async () => {
        const next = await reader.next();
        if (!next.done) checkBatch(next.value, body.bytes);
        return next;
      });
      if (done) return;
      yield value;
    }
  }
  return { schema: reader.schema, batches: batches() };
}

/** The schema in the bytes of an Arrow stream. @throws Error where there is none */
export function readSchema(bytes: Uint8Array): Schema {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), start = view.getInt32(0, true) === -1 ? 8 : 4;
  checkMessage(new Uint8Array(bytes.subarray(start, start + view.getInt32(start - 4, true))));
  const { schema } = RecordBatchReader.from(bytes).open();
  checkSchema(schema);
  return schema;
}

/**
 * Passes whole messages on, so that an end without the end-of-stream mark is noticed, and only those whose headers can be followed.
 * @param body the bytes of the last one that is a batch
 */
async function* messages(name: string, bytes: AsyncIterable<Uint8Array>, body: { bytes: number }): AsyncGenerator<Uint8Array> {
  const short = (): GraftError => dataError(`${name}: the Arrow data is cut short; did the program that wrote it fail?`);
  const input = new ByteReader(bytes, short);
  const file = isArrowFile(await input.peek(8));
  if (file) await input.take(8);
  for (;;) {
    const mark = await input.take(4);
    const size = int32(mark) === -1 ? await input.take(4) : null;
    const length = int32(size ?? mark);
    // The footer of a file may follow the end; what followed a stream would be lost without a word.
    if (length === 0 && !file && (await input.peek(1)).length > 0) throw dataError(`${name}: more follows the end of the Arrow data; graft data concat joins streams`);
    yield mark;
    if (size) yield size;
    if (length === 0) return;
    if (length < 0 || length > MAX_MESSAGE) throw dataError(`${name}: is not Arrow data: a message of ${length} bytes`);
    const metadata = await input.take(length);
    checkMessage(metadata);
    const message = Message.decode(metadata.slice());
    refuseCompression(name, message);
    if (!(message.bodyLength >= 0 && message.bodyLength <= MAX_BODY)) throw dataError(`${name}: is not Arrow data: a batch of ${message.bodyLength} bytes`);
    yield metadata;
    if (message.isRecordBatch()) body.bytes = message.bodyLength;
    if (message.bodyLength > 0) yield await input.take(message.bodyLength);
    // apache-arrow asks for one chunk more than it needs: this one, not the next message, so that a slow stream is read as it comes.
    yield new Uint8Array(0);
  }
}

const int32 = (b: Uint8Array): number => new DataView(b.buffer, b.byteOffset, 4).getInt32(0, true);

function refuseCompression(name: string, message: Message): void {
  const header = message.isRecordBatch() ? message.header() : message.isDictionaryBatch() ? message.header().data : null;
  const { compression } = (header ?? {}) as { compression?: { type: CompressionType } | null };
  if (compression) throw dataError(`${name}: its batches are compressed (${CompressionType[compression.type]}); write it uncompressed`);
}

async function guard<T>(name: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof GraftError) throw error;
    throw dataError(`${name}: is not valid Arrow data: ${(error as Error).message}`, error);
  }
}

/** Writes record batches as they come, in the stream or the file format of Arrow IPC. */
export class ArrowWriter {
  private readonly writer: RecordBatchWriter;
  private readonly queue = new Chunks();

  constructor(private readonly output: Output, readonly schema: Schema, format: 'stream' | 'file' = 'stream') {
    this.writer = format === 'file' ? new FileWriter({ autoDestroy: false }) : new RecordBatchStreamWriter({ autoDestroy: false });
    this.writer.reset(this.queue, schema);
  }

  /** The batch's columns must have the types of the schema; names and metadata are the schema's. */
  async write(batch: RecordBatch): Promise<void> {
    const types = (s: Schema): string => s.fields.map((f) => f.type.toString()).join();
    if (types(batch.schema) !== types(this.schema)) throw new Error(`a batch of ${batch.schema} for a table of ${this.schema}`);
    this.writer.write(new RecordBatch(this.schema, batch.data));
    await this.drain();
  }

  /** Ends the stream. The output itself is committed by its owner. */
  async close(): Promise<void> {
    this.writer.finish();
    await this.drain();
  }

  private async drain(): Promise<void> {
    for (const chunk of this.queue.chunks.splice(0)) await this.output.write(chunk);
  }
}

/** Takes what apache-arrow writes, without its queue's promises. */
class Chunks extends AsyncByteQueue {
  readonly chunks: Uint8Array[] = [];

  override write(value: Uint8Array): void {
    this.chunks.push(value);
  }
}


/** apache-arrow's leaves the schema to the footer; the format wants the whole stream after the magic, and readers of pipes need it. */
class FileWriter extends RecordBatchFileWriter {
  protected override _writeSchema(schema: Schema): this {
    super._writeSchema(schema);
    return this._writeMessage(Message.from(schema));
  }
}
