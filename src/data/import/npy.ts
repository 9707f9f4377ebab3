import { dataError } from '../../errors.js';
import { ByteReader } from '../../formats/bytes.js';

/** A NumPy array being read, in C order. */
export interface NpyFile { dtype: string; shape: number[]; reader: ByteReader }

/** Reads the header of an .npy file. @throws GraftError (65) where it is none or is in Fortran order */
export async function openNpy(name: string, bytes: AsyncIterable<Uint8Array>): Promise<NpyFile> {
  const reader = new ByteReader(bytes, () => dataError(`${name}: the array is cut short`));
  const magic = await reader.take(8);
  if (Buffer.from(magic.subarray(0, 6)).toString('latin1') !== '\x93NUMPY') throw dataError(`${name}: is not a NumPy array (.npy)`);
  const length = await reader.take(magic[6] >= 2 ? 4 : 2);
  const header = Buffer.from(await reader.take(length.length === 4 ? Buffer.from(length).readUInt32LE() : Buffer.from(length).readUInt16LE())).toString('latin1');
  const dtype = /'descr':\s*'([^']+)'/.exec(header)?.[1], shape = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1];
  if (!dtype || shape === undefined || !/'fortran_order':\s*False/.test(header)) throw dataError(`${name}: is an array in a layout that is not read: ${header.trim()}`);
  return { dtype, shape: shape.split(',').filter((s) => s.trim() !== '').map(Number), reader };
}

/** Integers of any of NumPy's sizes. */
export function integers({ dtype }: NpyFile, bytes: Uint8Array, name: string): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const width = Number(dtype.slice(2));
  const read: Record<string, (at: number) => number> = {
    '|u1': (at) => view.getUint8(at), '|i1': (at) => view.getInt8(at), '<i2': (at) => view.getInt16(at, true),
    '<i4': (at) => view.getInt32(at, true), '<i8': (at) => Number(view.getBigInt64(at, true)),
  };
  if (!read[dtype]) throw dataError(`${name}: holds ${dtype}, not integers`);
  return Array.from({ length: bytes.length / width }, (_, i) => read[dtype](i * width));
}
