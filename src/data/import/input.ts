import { createGunzip } from 'node:zlib';
import { Readable } from 'node:stream';
import { dataError } from '../../errors.js';
import { inputStream, isDirectory, nameOf, STDIN } from '../../formats/input.js';

/**
 * A file, a folder or standard input to import from. Gzip is undone on the way. Standard input can be read again only
 * after `keep()`, which holds its bytes in memory.
 */
export class ImportInput {
  readonly name: string;
  readonly isFolder: boolean;
  private kept: Uint8Array[] | null = null;

  constructor(readonly path: string) {
    this.name = nameOf(path);
    this.isFolder = path !== STDIN && isDirectory(path);
  }

  /** Makes the input readable more than once. */
  async keep(): Promise<void> {
    if (this.path !== STDIN || this.kept) return;
    const chunks: Uint8Array[] = [];
    for await (const chunk of inputStream(this.path)) chunks.push(chunk);
    this.kept = chunks;
  }

  /** The bytes, decompressed. @throws GraftError (65) for broken gzip */
  async *bytes(): AsyncGenerator<Uint8Array> {
    const raw: AsyncIterable<Uint8Array> | Iterable<Uint8Array> = this.kept ?? inputStream(this.path);
    const iterator = toAsync(raw);
    const first = await iterator.next();
    if (first.done) return;
    async function* all(): AsyncGenerator<Uint8Array> {
      yield first.value!;
      yield* iterator;
    }
    if (first.value[0] !== 0x1f || first.value[1] !== 0x8b) return yield* all();
    const source = Readable.from(all());
    const gunzip = createGunzip();
    source.on('error', (error) => gunzip.destroy(error));
    try {
      for await (const chunk of source.pipe(gunzip)) yield chunk as Uint8Array;
    } catch (error) {
      if (String((error as NodeJS.ErrnoException).code).startsWith('Z_')) throw dataError(`${this.name}: is broken gzip: ${(error as Error).message}`, error);
      throw error;
    }
  }

  /** All bytes, decompressed. */
  async all(): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.bytes()) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** The first bytes, decompressed. Standard input is kept. */
  async head(length: number): Promise<Uint8Array> {
    await this.keep();
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of this.bytes()) {
      parts.push(chunk);
      size += chunk.length;
      if (size >= length) break;
    }
    return Buffer.concat(parts).subarray(0, length);
  }
}

async function* toAsync(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* source;
}
