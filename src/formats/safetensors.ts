import { openMapped, tf, type MappedFile, type StorageType, type Tensor } from '@graft/kernels';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { noteRead } from '../dependencies.js';
import { dataError, GraftError, oneLine } from '../errors.js';
import { bitsOf, byteLength, bytesOf, decode, isDtype, type StoredDtype } from './dtype.js';
import type { StoredTensor } from './graft.js';
import { inputFailure, nameOf } from './input.js';
import type { Output, Span } from './output.js';

/** A tensor in a safetensors file; `offset` counts from the beginning of the file. */
export interface Entry { name: string; dtype: StoredDtype; shape: number[]; offset: number; length: number }

/** A tensor to be written; its bytes, whole or in pieces, are asked for when their turn comes. */
export interface LazyTensor {
  name: string;
  dtype: StoredDtype;
  shape: number[];
  /** In pieces, each of which stays as it is until the one after the next is asked for. */
  data(): Uint8Array | Iterable<Uint8Array> | Promise<Uint8Array>;
  /** Where the same bytes lie in a file, if they do. */
  span?(): Span | null;
}

export interface Header { metadata: Record<string, string>; entries: Map<string, Entry> }

/** What a file that begins with these bytes is instead, where that can be told. */
function kindOf(head: Buffer): string | undefined {
  if (/^(ARROW1|PAR1)/.test(head.toString('latin1')) || (head.readInt32LE() === -1 && head.readInt32LE(4) > 0)) return ' but a table (Arrow or Parquet)';
  return head.every((b) => (b >= 0x20 && b < 0x7f) || (b >= 0x09 && b <= 0x0d)) ? ' but text' : undefined;
}

/** The bound of the reference implementation. */
const MAX_HEADER = 100_000_000;
const MAX_DEPTH = 4;

/**
 * Opens a safetensors file. Tensors are read when asked for; the header is checked wholly.
 * @throws GraftError (66) not there, (65) not a valid safetensors file
 */
export function openSafetensors(path: string): SafetensorsFile {
  noteRead(path);
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    throw inputFailure(path, error);
  }
  try {
    if (fstatSync(fd).isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' });
    return new SafetensorsFile(path, parseHeader(path, fstatSync(fd).size, (offset, length) => {
      const bytes = new Uint8Array(length);
      for (let done = 0, n = 1; done < length && n > 0; done += n) n = readSync(fd, bytes, done, length - done, offset + done);
      return bytes;
    }));
  } catch (error) {
    throw error instanceof GraftError ? error : inputFailure(path, error);
  } finally {
    closeSync(fd);
  }
}

/** Tensors in one file, mapped when first needed. */
export class SafetensorsFile {
  readonly metadata: Record<string, string>;
  /** By name, in the order of their bytes. */
  readonly entries: Map<string, Entry>;
  private file: MappedFile | null = null;

  constructor(readonly path: string, header: Header) {
    this.metadata = header.metadata;
    this.entries = header.entries;
  }

  has(name: string): boolean {
    return this.entries.has(name);
  }

  /** A copy of the tensor's bytes, or of `count` of them from byte `start` on; in new memory or at the start of `into`. */
  read(name: string, start = 0, count?: number, into?: Uint8Array): Uint8Array {
    const { offset, length } = this.entry(name);
    return this.mapped().read(offset + start, Math.min(count ?? Infinity, length - start), into);
  }

  /** Where the tensor's bytes lie. */
  span(name: string): Span {
    const { offset, length } = this.entry(name);
    return { fd: this.mapped().fd, offset, length };
  }

  /** Floats as float32 (F32, F16 and BF16 stay mapped where the backend can), integers and booleans as int32. The caller disposes it. */
  tensor(name: string): Tensor {
    const { dtype, shape, offset } = this.entry(name);
    if (dtype === 'F32' || dtype === 'F16' || dtype === 'BF16') return this.mapped().tensor(offset, shape, dtype satisfies StorageType);
    const values = decode(this.read(name), dtype);
    if (!values) throw dataError(`${this.path}: tensor '${name}' is ${dtype}, which graft cannot compute with`);
    return tf.tensor(values, shape, values instanceof Float32Array ? 'float32' : 'int32');
  }

  /** Tensors already handed out must no longer be used. */
  close(): void {
    this.file?.close();
    this.file = null;
  }

  private entry(name: string): Entry {
    const entry = this.entries.get(name);
    if (!entry) throw dataError(`${this.path}: has no tensor '${name}'`);
    return entry;
  }

  private mapped(): MappedFile {
    try {
      return (this.file ??= openMapped(this.path));
    } catch (error) {
      throw inputFailure(this.path, error);
    }
  }
}

/**
 * Reads a safetensors file that is wholly in memory (from standard input).
 * @param source how messages name it
 */
export function readSafetensors(bytes: Uint8Array, source = '-'): { metadata: Record<string, string>; tensors: Map<string, StoredTensor> } {
  const { metadata, entries } = parseHeader(source, bytes.length, (offset, length) => bytes.subarray(offset, offset + length));
  const tensors = [...entries.values()].map(({ name, dtype, shape, offset, length }) => [name, { dtype, shape, data: bytes.subarray(offset, offset + length) }] as const);
  return { metadata, tensors: new Map(tensors) };
}

/**
 * Writes a safetensors file tensor by tensor. The bytes depend on nothing but the arguments: wide types first (so that every
 * tensor is aligned, as the reference implementation lays them out), names sorted within a type, metadata keys sorted.
 */
export async function writeSafetensors(output: Output, tensors: readonly LazyTensor[], metadata: Record<string, string> = {}): Promise<void> {
  const sorted = layoutOrder(tensors);
  const header: Record<string, unknown> = {};
  if (Object.keys(metadata).length > 0) header.__metadata__ = Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => compare(a, b)));
  let end = 0;
  for (const { name, dtype, shape } of sorted) header[name] = { dtype, shape, data_offsets: [end, (end += byteLength(dtype, shape))] };
  let text = Buffer.from(JSON.stringify(header));
  text = Buffer.concat([text, Buffer.alloc(-text.length & 7, ' ')]);
  await output.write(bytesOf(BigUint64Array.of(BigInt(text.length))));
  await output.write(text);
  for (const { name, dtype, shape, data, span } of sorted) {
    const stored = output.copy ? span?.() : null;
    if (stored) {
      await output.copy!(stored);
      continue;
    }
    const bytes = await data();
    let written = 0, writing: Promise<void> | undefined;
    // A piece is made while the one before it is written.
    try {
      for (const piece of bytes instanceof Uint8Array ? [bytes] : bytes) {
        await writing;
        writing = output.write(piece);
        written += piece.length;
      }
    } finally {
      await writing;
    }
    if (written !== byteLength(dtype, shape)) throw new Error(`tensor ${name}: ${written} bytes for ${dtype} [${shape}]`);
  }
}

/** The order in which `writeSafetensors` asks for tensors. */
function layoutOrder<T extends { name: string; dtype: StoredDtype }>(tensors: readonly T[]): T[] {
  return [...tensors].sort((a, b) => bitsOf(b.dtype) - bitsOf(a.dtype) || compare(a.dtype, b.dtype) || compare(a.name, b.name));
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function parseHeader(path: string, size: number, read: (offset: number, length: number) => Uint8Array): Header {
  const source = nameOf(path);
  const bad = (why: string, cause?: unknown): GraftError => dataError(`${source}: ${why}`, cause);
  if (size < 8) throw bad(`is not a safetensors file: ${size === 0 ? 'it is empty' : `${size} bytes are too few`}`);
  const head = Buffer.from(read(0, 8)), length = Number(head.readBigUInt64LE());
  if (length > MAX_HEADER) throw bad(`is not a safetensors file${kindOf(head) ?? `: a header of ${length} bytes is over the limit of ${MAX_HEADER}`}`);
  if (8 + length > size) throw bad(`is cut short: the header wants ${length} bytes, the file has ${size - 8} after its first 8`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(read(8, length));
  } catch (error) {
    throw bad('the header is not valid UTF-8', error);
  }
  if (text[0] !== '{') throw bad('is not a safetensors file: the header is not a JSON object');
  const fault = scanJson(text);
  if (fault) throw bad(`the header ${fault}`);
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw bad(`the header is not JSON: ${oneLine((error as Error).message)}`, error);
  }
  return { metadata: parseMetadata(json.__metadata__, bad), entries: parseEntries(json, 8 + length, size, bad) };
}

function parseMetadata(value: unknown, bad: (why: string) => GraftError): Record<string, string> {
  if (value === undefined) return {};
  if (!isObject(value)) throw bad('__metadata__ is not an object');
  const wrong = Object.entries(value).find(([, v]) => typeof v !== 'string');
  if (wrong) throw bad(`__metadata__ '${oneLine(wrong[0])}' is not a text`);
  return value as Record<string, string>;
}

function parseEntries(json: Record<string, unknown>, start: number, size: number, bad: (why: string) => GraftError): Map<string, Entry> {
  const entries: Entry[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name !== '__metadata__') entries.push(parseEntry(name, value, start, (why) => bad(`tensor '${oneLine(name)}' ${why}`)));
  }
  entries.sort((a, b) => a.offset - b.offset || a.length - b.length);
  let end = start;
  for (const { name, offset, length } of entries) {
    const where = `tensor '${oneLine(name)}'`;
    if (offset + length > size) throw bad(`${where} ends at byte ${offset + length}, beyond the end of the file at ${size} (is it cut short?)`);
    if (offset < end) throw bad(`${where} overlaps the tensor before it`);
    if (offset > end) throw bad(`${offset - end} bytes before ${where} belong to no tensor`);
    end = offset + length;
  }
  if (end !== size) throw bad(`${size - end} bytes at the end belong to no tensor`);
  return new Map(entries.map((e) => [e.name, e]));
}

function parseEntry(name: string, value: unknown, start: number, bad: (why: string) => GraftError): Entry {
  if (!isObject(value)) throw bad('is not described by an object');
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDtype(dtype)) throw bad(`has the unknown dtype ${oneLine(String(JSON.stringify(dtype)))}`);
  if (!isCounts(shape)) throw bad('has no valid shape');
  if (!isCounts(offsets) || offsets.length !== 2 || offsets[1] < offsets[0]) throw bad('has no valid data_offsets');
  const wanted = byteLength(dtype, shape);
  if (!Number.isSafeInteger(wanted)) throw bad(`of shape [${shape}] does not fill whole bytes`);
  const length = offsets[1] - offsets[0];
  if (length !== wanted) throw bad(`of shape [${shape}] needs ${wanted} bytes of ${dtype}, its offsets span ${length}`);
  return { name, dtype, shape, offset: start + offsets[0], length };
}

const isObject = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null && !Array.isArray(v);
const isCounts = (v: unknown): v is number[] => Array.isArray(v) && v.every((n) => Number.isSafeInteger(n) && n >= 0);

/** What JSON.parse lets pass: names given twice, and nesting a header never needs. */
function scanJson(text: string): string | null {
  const names: Set<string>[] = [];
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '{' || c === '[') {
      if (names.push(new Set()) > MAX_DEPTH) return `is nested deeper than ${MAX_DEPTH} levels`;
    } else if (c === '}' || c === ']') {
      names.pop();
    } else if (c === '"') {
      const begin = i++;
      while (i < text.length && text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
      let next = i + 1;
      while (/\s/.test(text[next] ?? '')) next++;
      if (text[next] !== ':') continue;
      const raw = text.slice(begin, i + 1);
      const name = raw.includes('\\') ? unescape(raw) : raw.slice(1, -1);
      const seen = names.at(-1);
      if (seen?.has(name)) return `names '${oneLine(name)}' twice`;
      seen?.add(name);
    }
  }
  return null;
}

function unescape(raw: string): string {
  try {
    return JSON.parse(raw);
  } catch {
    return raw;
  }
}
