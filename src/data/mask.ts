import { Binary, Field } from 'apache-arrow';
import { dataError } from '../errors.js';
import { parseJson } from '../formats/json.js';

/** One byte a pixel, row by row: the class, 255 where none is said. */
export interface Mask { data: Uint8Array; height: number; width: number }

/**
 * The classes of an image's pixels, brought to `size` (height, width) if given, by the nearest pixel. `mask` is an encoded grey picture (PNG), {bytes, path} as
 * `datasets` writes it, or raw bytes whose `shape`, height × width, the column's metadata gives.
 * @throws GraftError (65) for what is none of these
 */
export async function fittedMask(mask: unknown, shape: readonly number[] | null, size: readonly [number, number] | null, where: string): Promise<Mask> {
  const bytes = mask instanceof Uint8Array ? mask : (mask as { bytes?: unknown } | null)?.bytes;
  if (!(bytes instanceof Uint8Array)) throw dataError(`${where}: is neither bytes nor {bytes, path}`);
  const given = shape ? raw(bytes, shape, where) : await decode(bytes, where);
  return size ? nearest(given, ...size) : given;
}

function raw(data: Uint8Array, shape: readonly number[], where: string): Mask {
  const [height, width, depth = 1] = shape;
  if (shape.length < 2 || shape.length > 3 || depth !== 1) throw dataError(`${where}: raw masks are height×width, not ${shape.join('×')}`);
  if (data.length !== height * width) throw dataError(`${where}: has ${data.length} bytes, not ${shape.join('×')}`);
  return { data, height, width };
}

async function decode(bytes: Uint8Array, where: string): Promise<Mask> {
  const { default: sharp } = await import('sharp');
  const read = async () => {
    try {
      return await sharp(bytes, { failOn: 'error' }).raw().toBuffer({ resolveWithObject: true });
    } catch (e) {
      throw dataError(`${where}: cannot be decoded: ${(e as Error).message.split('\n')[0]}`, e);
    }
  };
  const { data, info: { height, width, channels } } = await read();
  // Of a picture with a palette only the colours are handed out.
  for (let i = 0; i < data.length; i += channels) for (let c = 1; c < Math.min(3, channels); c++) {
    if (channels > 2 && data[i + c] !== data[i]) throw dataError(`${where}: is a picture in colour; the class of a pixel is its grey value`);
  }
  return { data: channels === 1 ? data : Uint8Array.from({ length: height * width }, (_, i) => data[i * channels]), height, width };
}

function nearest({ data, height, width }: Mask, H: number, W: number): Mask {
  if (height === H && width === W) return { data, height, width };
  const at = (i: number, from: number, to: number): number => Math.min(from - 1, Math.floor(((i + 0.5) * from) / to));
  return { data: Uint8Array.from({ length: H * W }, (_, k) => data[at(Math.floor(k / W), height, H) * width + at(k % W, width, W)]), height: H, width: W };
}

/** A column of raw masks of one shape, with what their classes are called. */
export const maskField = (name: string, [height, width]: readonly [number, number], names: readonly string[]): Field =>
  new Field(name, new Binary(), true, new Map([['shape', `${height},${width}`], ['names', JSON.stringify(names)]]));

/** The names of the classes in a mask column's metadata; null without. */
export function maskNames(metadata: ReadonlyMap<string, string>, where: string): string[] | null {
  const text = metadata.get('names');
  if (text === undefined) return null;
  const names = parseJson(text, `${where}: the names of column mask`);
  if (!Array.isArray(names) || !names.every((n) => typeof n === 'string')) throw dataError(`${where}: the names of column mask are no list of names`);
  return names;
}
