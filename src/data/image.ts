import { dataError } from '../errors.js';

/** uint8 RGB, row by row. */
export interface Pixels { data: Uint8Array; height: number; width: number }

/** Loaded when the first picture comes, since it takes a while. */
const library = async () => (await import('sharp')).default;

/** More pixels than this are taken for an attack, not a picture. */
const MOST_PIXELS = 1 << 26;

/**
 * One image, brought to `size` (height, width) if given. `image` is encoded bytes, {bytes, path} as `datasets` writes it, or raw uint8
 * HWC whose `shape` the column's metadata gives.
 * @throws GraftError (65) for a picture that is broken or too large
 */
export async function fittedPixels(image: unknown, shape: readonly number[] | null, size: readonly [number, number] | null, where: string): Promise<Pixels> {
  const pixels = await pixelsOf(image, shape, where);
  if (!size || (pixels.height === size[0] && pixels.width === size[1])) return pixels;
  return { data: await resize(pixels, size[0], size[1]), height: size[0], width: size[1] };
}

async function pixelsOf(image: unknown, shape: readonly number[] | null, where: string): Promise<Pixels> {
  const bytes = image instanceof Uint8Array ? image : (image as { bytes?: unknown } | null)?.bytes;
  if (!(bytes instanceof Uint8Array)) throw dataError(`${where}: is neither bytes nor {bytes, path}`);
  if (!shape) return decodeImage(bytes, where);
  const [height, width, channels] = shape;
  if (shape.length !== 3 || (channels !== 1 && channels !== 3)) throw dataError(`${where}: raw images are height×width×3 or ×1, not ${shape.join('×')}`);
  if (bytes.length !== height * width * channels) throw dataError(`${where}: has ${bytes.length} bytes, not ${shape.join('×')}`);
  return { data: channels === 3 ? bytes : grey(bytes), height, width };
}

/** @throws GraftError (65) for bytes that are no whole picture */
export async function decodeImage(bytes: Uint8Array, where: string): Promise<Pixels> {
  const sharp = await library();
  try {
    const { data, info } = await sharp(bytes, { failOn: 'error', limitInputPixels: MOST_PIXELS }).removeAlpha().toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
    return { data: info.channels === 3 ? data : grey(data), height: info.height, width: info.width };
  } catch (e) {
    throw dataError(`${where}: cannot be decoded: ${(e as Error).message.split('\n')[0]}`, e);
  }
}

const grey = (data: Uint8Array): Uint8Array => {
  const rgb = new Uint8Array(data.length * 3);
  for (let i = 0; i < data.length; i++) rgb.fill(data[i], 3 * i, 3 * i + 3);
  return rgb;
};

/** Bilinear over the area of each new pixel, as Hugging Face's image processors do by default. */
const resize = async ({ data, height, width }: Pixels, H: number, W: number): Promise<Uint8Array> =>
  (await library())(data, { raw: { width, height, channels: 3 } }).resize(W, H, { fit: 'fill', kernel: 'linear' }).raw().toBuffer();

/** The shape in a raw image column's metadata, e.g. "32,32,3"; null for encoded images. */
export function rawShape(metadata: ReadonlyMap<string, string> | undefined): number[] | null {
  return metadata?.get('shape')?.split(',').map(Number) ?? null;
}
