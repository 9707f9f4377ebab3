import { dataError } from '../../errors.js';
import { ByteReader } from '../../formats/bytes.js';

/** One file of an archive or a folder. */
export interface Member { path: string; bytes: Uint8Array }

const BLOCK = 512;
/** A larger member is not a picture or a sound. */
const LARGEST_MEMBER = 1 << 30;

/**
 * The regular files of a tar archive (ustar, GNU long names, pax paths), in order, one in memory at a time.
 * @throws GraftError (65) where it is cut short or a header's checksum is wrong
 */
export async function* readTar(name: string, bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Member> {
  const input = new ByteReader(bytes, () => dataError(`${name}: the tar archive is cut short`));
  let longName: string | null = null;
  for (let offset = 0; ;) {
    const header = Buffer.from(await input.take(BLOCK));
    if (header.every((b) => b === 0)) return;
    if (checksum(header) !== octal(header, 148, 8)) throw dataError(`${name}: no tar header at byte ${offset}`);
    const size = octal(header, 124, 12);
    if (!(size >= 0 && size <= LARGEST_MEMBER)) throw dataError(`${name}: a member of ${size} bytes at byte ${offset}`);
    const content = await input.take(size);
    const padded = Math.ceil(size / BLOCK) * BLOCK;
    await input.take(padded - size);
    offset += BLOCK + padded;
    const type = String.fromCharCode(header[156]);
    if (type === 'L') longName = field(Buffer.from(content), 0, size);
    else if (type === 'x') longName = paxPath(Buffer.from(content)) ?? longName;
    else {
      if (type === '0' || type === '\0') yield { path: longName ?? ustarPath(header), bytes: content };
      if (type !== 'g') longName = null;
    }
  }
}

/** Whether bytes begin like a tar archive. */
export const isTar = (head: Uint8Array): boolean => head.length >= BLOCK && checksum(Buffer.from(head)) === octal(Buffer.from(head), 148, 8);

function checksum(header: Buffer): number {
  let sum = 8 * 32; // its own field counts as blanks
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += header[i];
  return sum;
}

/** An octal number, or a binary one where the first bit is set (GNU, sizes from 8 GB). */
function octal(header: Buffer, at: number, length: number): number {
  if (header[at] & 0x80) return Number(BigInt(`0x${header.toString('hex', at + 1, at + length)}`));
  return parseInt(field(header, at, length).trim() || '0', 8);
}

function field(bytes: Buffer, at: number, length: number): string {
  const end = bytes.subarray(at, at + length).indexOf(0);
  return bytes.toString('utf8', at, end < 0 ? at + length : at + end);
}

function ustarPath(header: Buffer): string {
  const prefix = header.toString('latin1', 257, 262) === 'ustar' ? field(header, 345, 155) : '';
  return prefix ? `${prefix}/${field(header, 0, 100)}` : field(header, 0, 100);
}

/** The path in a pax header: records of the form "LENGTH key=value\n". */
function paxPath(content: Buffer): string | null {
  for (let at = 0; at < content.length;) {
    const length = parseInt(content.toString('latin1', at, content.indexOf(32, at)), 10);
    if (!(length > 0)) return null;
    const record = content.toString('utf8', content.indexOf(32, at) + 1, at + length - 1);
    if (record.startsWith('path=')) return record.slice(5);
    at += length;
  }
  return null;
}
