// Decodes Parquet away from the rest: hyparquet believes what a file says of counts and sizes, and may take all the time and memory there is.
import { parquetMetadataAsync, parquetReadObjects, type AsyncBuffer, type Compressors } from 'hyparquet';
import { open } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import * as zlib from 'node:zlib';

/** What to read: a file, or bytes that are all there. */
export interface ParquetSource { path: string; size: number; bytes: ArrayBuffer | null }
export interface ParquetRequest { rowStart: number; rowEnd: number }

/** A page is written to be read whole: none is larger, and none is larger than it says. */
const MOST_PAGE_BYTES = 1 << 30;
const limits = (declared: number): { maxOutputLength: number } => {
  if (!(declared >= 0 && declared <= MOST_PAGE_BYTES)) throw new Error(`a page says it takes ${declared} bytes`);
  return { maxOutputLength: Math.max(1, declared) };
};

/** What node itself can decompress; Snappy is hyparquet's own. */
const compressors: Compressors = {
  GZIP: (input, size) => zlib.gunzipSync(input, limits(size)),
  BROTLI: (input, size) => zlib.brotliDecompressSync(input, limits(size)),
  ...('zstdDecompressSync' in zlib ? { ZSTD: (input, size) => (zlib as unknown as { zstdDecompressSync(input: Uint8Array, options: object): Uint8Array }).zstdDecompressSync(input, limits(size)) } : {}),
};

const { path, size, bytes } = workerData as ParquetSource;

async function slice(start: number, end = size): Promise<ArrayBuffer> {
  if (!(start >= 0 && start <= end && end <= size)) throw new Error(`bytes ${start} to ${end} of ${size} are wanted`);
  if (bytes) return bytes.slice(start, end);
  const file = await open(path, 'r');
  try {
    const part = new Uint8Array(end - start);
    const { bytesRead } = await file.read(part, 0, part.length, start);
    if (bytesRead < part.length) throw new Error('it became shorter while it was read');
    return part.buffer;
  } finally {
    await file.close();
  }
}

const file: AsyncBuffer = { byteLength: size, slice };
const metadata = parquetMetadataAsync(file, { geoparquet: false });

const answer = (work: Promise<unknown>): Promise<void> => work.then((value) => parentPort!.postMessage({ value }), (error) => parentPort!.postMessage({ error: String((error as Error).message) }));

void answer(metadata);
parentPort!.on('message', ({ rowStart, rowEnd }: ParquetRequest) => {
  void answer(metadata.then((m) => parquetReadObjects({ file, metadata: m, rowStart, rowEnd, compressors, utf8: false })));
});
