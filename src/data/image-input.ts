import { tf } from '@graft/kernels';
import { dataError } from '../errors.js';
import type { Row } from '../formats/rows.js';
import type { ImageBatch } from '../models/model.js';
import { fittedPixels, type Pixels } from './image.js';

export { decodeImage, fittedPixels, rawShape, type Pixels } from './image.js';

/** The images of some rows as one batch; see `fittedPixels`. */
export async function imageBatch(rows: readonly Row[], shape: readonly number[] | null, size: readonly [number, number] | null): Promise<ImageBatch> {
  return tensorOf(await Promise.all(rows.map((row, i) => fittedPixels(row.image, shape, size, `image of row ${i + 1}`))));
}

/** Images of one size as [B, H, W, 3] in [0, 1]. @throws GraftError (65) where sizes differ */
export function tensorOf(images: readonly Pixels[]): ImageBatch {
  const { height: H, width: W } = images[0];
  const values = new Float32Array(images.length * H * W * 3);
  images.forEach(({ data, height, width }, i) => {
    if (height !== H || width !== W) throw dataError(`images of ${height}×${width} and ${H}×${W} in one batch: bring them to one size first`);
    for (let k = 0, o = i * data.length; k < data.length; k++) values[o + k] = data[k] / 255;
  });
  return { kind: 'image', pixels: tf.tensor4d(values, [images.length, H, W, 3]) };
}
