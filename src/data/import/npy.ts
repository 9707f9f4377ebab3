import { dataError } from '../../errors.js';
import { ByteReader } from '../../formats/bytes.js';
import { isCount } from '../../formats/json.js';

/** A NumPy array being read, in C order. */
export interface NpyFile { dtype: string; shape: number[]; reader: ByteReader }

/** Reads the header of an .npy file. @throws GraftError (65) where it is none or is in Fortran order */
export async function openNpy(name: string, bytes: AsyncIterable<Uint8Array>): Promise<NpyFile> {
  const reader = new ByteReader(bytes, () => dataError(`${name}: the array is cut short`));
  const magic = await reader.take(8);
  if (Buffer.from(magic.subarray(0, 6)).toString('latin1') !== '\x93NUMPY') throw dataError(`${name}: is not a NumPy array (.npy)`);
  const length = Buffer.from(await reader.take(magic[6] >= 2 ? 4 : 2)), size = length.length === 4 ? length.readUInt32LE() : length.readUInt16LE();
  if (size > LONGEST_HEADER) throw dataError(`${name}: is no array: its header takes ${size} bytes`);
  const header = Buffer.from(await reader.take(size)).toString('latin1');
  const dtype = /'descr':\s*'([^']+)'/.exec(header)?.[1], shape = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1];
  if (!dtype || shape === undefined || !/'fortran_order':\s*False/.test(header)) throw dataError(`${name}: is an array in a layout that is not read: ${header.trim()}`);
  const sizes = shape.split(',').filter((s) => s.trim() !== '').map(Number);
  if (!sizes.every((n) => isCount(n) && n > 0)) throw dataError(`${name}: has the impossible shape (${shape})`);
  return { dtype, shape: sizes, reader };
}

const LONGEST_HEADER = 1 << 20;

/** Integers of any of NumPy's sizes. */
export function integers({ dtype }: NpyFile, bytes: Uint8Array, name: string): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const read: Record<string, (at: number) => number> = {
    '|u1': (at) => view.getUint8(at), '|i1': (at) => view.getInt8(at), '<i2': (at) => view.getInt16(at, true),
    '<i4': (at) => view.getInt32(at, true), '<i8': (at) => Number(view.getBigInt64(at, true)),
  };
  if (!Object.hasOwn(read, dtype)) throw dataError(`${name}: holds ${dtype}, not integers`);
  const width = Number(dtype.slice(2));
  return Array.from({ length: Math.floor(bytes.length / width) }, (_, i) => read[dtype](i * width));
}
