import { tf, type Tensor } from '@graft/kernels';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openCheckpoint, type Checkpoint } from '../../src/formats/checkpoint.js';
import { Forward, type ForwardOptions } from '../../src/models/forward.js';
import type { ActiveGraft } from '../../src/adapters/active.js';
import type { Batch, Head, Model } from '../../src/models/model.js';
import { loadModel } from '../../src/models/registry.js';

/** From dist/test/models, where this runs, to the repository. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const FOLDER = join(ROOT, 'test/golden/models');

/** What test/golden/models.py wrote for one checkpoint. */
export interface Golden {
  head: Head['task'];
  input_ids?: number[][];
  attention_mask?: number[][];
  token_type_ids?: number[][];
  pixels?: number[];
  shape?: [number, number, number, number];
  /** Noisy images, their times and conditions. */
  x?: number[];
  t?: number[];
  ids?: number[][];
  hidden: number[];
  logits: number[];
  headTensors: Record<string, number[]>;
}

export const readGolden = <T>(name: string): T => JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8')) as T;

export async function openSmall(name: string): Promise<{ checkpoint: Checkpoint; model: Model; golden: Golden }> {
  const checkpoint = await openCheckpoint(join(FOLDER, name));
  return { checkpoint, model: await loadModel(checkpoint), golden: readGolden(name) };
}

export function batchOf(g: Golden): Batch {
  if (g.pixels) return { kind: 'image', pixels: tf.tensor4d(g.pixels, g.shape) };
  const int = (rows: number[][]) => tf.tensor2d(rows, undefined, 'int32');
  if (g.x) return { kind: 'noise', x: tf.tensor4d(g.x, g.shape), t: tf.tensor1d(g.t!), ...(g.ids && { ids: int(g.ids) }) };
  return { kind: 'text', ids: int(g.input_ids!), mask: tf.tensor2d(g.attention_mask!, undefined, 'float32'), ...(g.token_type_ids ? { types: int(g.token_type_ids) } : {}) };
}

/** Last hidden states and logits, at positions that are not padding. */
export function compute(model: Model, checkpoint: Checkpoint, golden: Golden, head: Head, grafts: ActiveGraft[] = [], options: ForwardOptions = {}, batch?: Batch): { hidden: Float32Array; logits: Float32Array } {
  const out: { hidden: Float32Array; logits: Float32Array } = { hidden: new Float32Array(), logits: new Float32Array() };
  tf.tidy(() => {
    const f = new Forward(model.sites, checkpoint, grafts, options);
    const features = model.backbone(f, batch ?? batchOf(golden));
    const logits = model.logits(f, features, head);
    out.hidden = unpadded(features.hidden, golden);
    out.logits = unpadded(logits, golden);
  });
  return out;
}

function unpadded(x: Tensor, { attention_mask: mask }: Golden): Float32Array {
  const values = x.dataSync() as Float32Array;
  if (!mask || x.rank !== 3) return values.slice();
  const d = x.shape[2]!;
  return Float32Array.from(mask.flat().flatMap((m, i) => (m ? [...values.subarray(i * d, (i + 1) * d)] : [])));
}

export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Number.isNaN(a[i]) ? Infinity : Math.abs(a[i] - b[i]));
  return most;
}
