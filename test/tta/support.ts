import { Rng, tf, useBackend, type Tensor4D } from '@graft/kernels';
import { Field, Int32, Binary, Schema, Utf8 } from 'apache-arrow';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ArrowWriter } from '../../src/formats/arrow.js';
import { batchOf } from '../../src/formats/rows.js';
import { openRuntime, type Runtime } from '../../src/runtime.js';
import type { Adaptation, Prepared, SourceBatch, TtaMethod } from '../../src/tta/method.js';
import { Source } from '../../src/tta/network.js';
import { loadTta } from '../../src/tta/registry.js';
import { must } from '../support/tiny.js';

export const SIZE = 8;
const CLASSES = ['a', 'b', 'c', 'd'];
const CONFIG = {
  model_type: 'resnet-cifar', depth: 8, size: SIZE, num_labels: CLASSES.length,
  id2label: Object.fromEntries(CLASSES.map((c, i) => [i, c])), label2id: Object.fromEntries(CLASSES.map((c, i) => [c, i])),
};

/** A blank ResNet-8 over small images, in a folder of its own. @returns the checkpoint's path */
export function tinyResnet(folder: string): string {
  writeFileSync(join(folder, 'config.json'), JSON.stringify(CONFIG));
  const path = join(folder, 'resnet');
  must(['init-model', '-c', join(folder, 'config.json'), '-o', path]);
  return path;
}

/** Bytes of random images whose brightness and tint differ from one to the next. */
export function images(count: number, seed: number): Uint8Array[] {
  const rng = new Rng('images', seed);
  return Array.from({ length: count }, () => {
    const tint = [rng.uniform(60, 200), rng.uniform(60, 200), rng.uniform(60, 200)];
    return Uint8Array.from({ length: SIZE * SIZE * 3 }, (_, i) => Math.round(tint[i % 3] + rng.uniform(-50, 50)));
  });
}

/** Images as a batch of pixels in [0, 1]. */
export const pixels = (given: readonly Uint8Array[]): Tensor4D =>
  tf.tensor4d(Float32Array.from(given.flatMap((image) => [...image]), (v) => v / 255), [given.length, SIZE, SIZE, 3]);

/** Images of two source domains, each class three times. */
export const sourceImages = (): Required<SourceBatch>[] => [{ pixels: pixels(images(12, 4)), labels: tf.tensor1d(Array.from({ length: 12 }, (_, i) => i % 4), 'int32'), domains: Array.from({ length: 12 }, (_, i) => (i < 6 ? 'fog' : 'snow')) }];

/** What a test of methods works on. */
export interface Bench {
  runtime: Runtime;
  source: Source;
  /** Starts a method; options not given take their defaults. */
  start(name: string, config?: Record<string, unknown>, on?: { source?: Source; prepared?: Prepared }): Promise<Adaptation>;
  /** What a method learns beforehand; undefined where it learns nothing. */
  prepare(name: string, config: Record<string, unknown>, batches: readonly SourceBatch[]): Promise<Prepared | undefined>;
}

export async function bench(checkpoint: string): Promise<Bench> {
  await useBackend('auto');
  const runtime = await openRuntime({ model: checkpoint });
  const source = new Source(runtime.model, runtime.weights, runtime.grafts, runtime.head!);
  return {
    runtime, source,
    async start(name, config = {}, { source: from = source, prepared } = {}) {
      const method = await loadTta(name);
      return method.start(from, { ...defaults(method), ...config }, 0, prepared);
    },
    async prepare(name, config, batches) {
      const method = await loadTta(name);
      return method.prepare?.(source, batches, { ...defaults(method), ...config }, 0);
    },
  };
}

export const defaults = ({ options }: TtaMethod): Record<string, unknown> => Object.fromEntries(Object.entries(options).map(([option, { default: value }]) => [option, value]));

/** One step as the command takes it, a method's further images the same again. @returns the logits */
export function step(adaptation: Adaptation, x: Tensor4D): Float32Array {
  const logits = tf.tidy(() => adaptation.step(x, [x]));
  const values = logits.dataSync().slice() as Float32Array;
  logits.dispose();
  return values;
}

export interface ImageRow extends Record<string, unknown> { image: Uint8Array; label: number; domain: string }

export const imageSchema = new Schema([
  new Field('image', new Binary(), false, new Map([['shape', `${SIZE},${SIZE},3`]])), new Field('label', new Int32()), new Field('domain', new Utf8()),
  new Field('projected', new Binary(), true, new Map([['shape', `${SIZE},${SIZE},3`]])),
]);

/** An Arrow stream in parts: the schema and the first rows, then the others a batch each, then the end. */
export async function arrowParts(batches: readonly (readonly ImageRow[])[], schema = imageSchema): Promise<Buffer[]> {
  const parts: Buffer[] = [];
  let held: Buffer[] = [];
  const writer = new ArrowWriter({ name: 'memory', write: async (b) => { held.push(Buffer.from(b)); }, commit: async () => undefined, abort: () => undefined }, schema);
  for (const rows of batches) {
    await writer.write(batchOf(schema, rows));
    parts.push(Buffer.concat(held));
    held = [];
  }
  await writer.close();
  return [...parts, Buffer.concat(held)];
}

export const arrow = async (rows: readonly ImageRow[], schema = imageSchema): Promise<Buffer> => Buffer.concat(await arrowParts([rows], schema));
