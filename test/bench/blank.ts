import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeAll } from '../../src/formats/output.js';
import { writeSafetensors } from '../../src/formats/safetensors.js';
import { blankModel } from '../../src/models/blank.js';

type Config = Record<string, unknown> & { model_type: string };

/** As many values as are drawn; larger weights repeat them, which no speed depends on. */
const DRAWN = 1 << 22;

/** A bf16 checkpoint of random weights, fast also where it is large: `graft init-model` draws every value. @returns its folder */
export async function blankHalf({ folder, name, config, tokenizer }: { folder: string; name: string; config: Config; tokenizer: string }): Promise<string> {
  const path = join(folder, name);
  if (existsSync(path)) return path;
  mkdirSync(path);
  writeFileSync(join(path, 'config.json'), JSON.stringify({ ...config, torch_dtype: 'bfloat16' }));
  copyFileSync(tokenizer, join(path, 'tokenizer.json'));
  const std = Number(config.initializer_range ?? 0.02), random = halved(Float32Array.from({ length: DRAWN }, () => std * Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random())));
  const fd = openSync(join(path, 'model.safetensors'), 'w');
  const file = { name: path, write: async (bytes: Uint8Array | string): Promise<void> => { writeAll(fd, bytes); }, commit: async () => {}, abort: () => {} };
  const tensors = (await blankModel(config, 0)).map((t) => ({
    name: t.name, shape: t.shape, dtype: 'BF16' as const, data: () => (t.shape.length > 1 ? repeated(random, 2 * t.shape.reduce((a, b) => a * b, 1)) : halved(t.values)),
  }));
  await writeSafetensors(file, tensors, { format: 'pt' });
  closeSync(fd);
  return path;
}

export const readConfig = (file: string): Config => JSON.parse(readFileSync(file, 'utf8')) as Config;

/** The upper halves of floats: bf16, cut off. */
function halved(values: Float32Array): Uint8Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return new Uint8Array(Uint16Array.from(bits, (b) => b >>> 16).buffer);
}

function* repeated(block: Uint8Array, bytes: number): Generator<Uint8Array> {
  for (let done = 0; done < bytes; done += block.length) yield block.subarray(0, Math.min(block.length, bytes - done));
}
