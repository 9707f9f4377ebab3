import { dataError } from '../errors.js';
import { isFinite } from '../finite.js';
import { decode } from '../formats/dtype.js';
import { readSafetensors } from '../formats/safetensors.js';
import type { PlotInput } from './picture.js';

/** More lines than this make no picture. */
export const LARGEST = 16;

/** The two-dimensional float tensors of a safetensors file whose names match. */
export async function selectMatrices(input: PlotInput, wanted: RegExp): Promise<{ name: string; values: Float32Array; rows: number; columns: number }[]> {
  const { tensors } = readSafetensors(input.bytes, input.name);
  return [...tensors].filter(([name, t]) => t.shape.length === 2 && wanted.test(name)).flatMap(([name, { shape, dtype, data }]) => {
    const values = decode(data, dtype);
    if (values instanceof Float32Array && !isFinite(values)) throw dataError(`${input.name}: tensor '${name}' holds values that are not finite (NaN or infinity)`);
    return values instanceof Float32Array ? [{ name, values, rows: shape[0], columns: shape[1] }] : [];
  });
}
