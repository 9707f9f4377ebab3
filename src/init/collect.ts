import { scoped, type Tensor } from '@graft/kernels';
import { defaults } from '../adapters/instantiate.js';
import { disposeBatch, padBatch } from '../data/encode.js';
import { fittedPixels, rawShape, tensorOf } from '../data/image-input.js';
import type { Row, Table } from '../formats/table.js';
import type { Batch } from '../models/model.js';
import type { Site } from '../models/site.js';
import { textOf, where } from '../objectives/classify.js';
import type { Objective, Preparation } from '../objectives/objective.js';
import { loadObjective } from '../objectives/registry.js';
import type { Runtime } from '../runtime.js';

/** A batch as an initialiser sees it. */
export interface DataBatch {
  inputs: Batch;
  /** Of the B·T token positions: 1 where there is a token. Null where every position counts (images). */
  tokens: Uint8Array | null;
  /** The same, and the objective scores it; equal to `tokens` where labels belong to rows. */
  scored: Uint8Array | null;
}

/** The batches of a table as the head's objective makes them, or plain texts or images without a head. The caller frees `inputs`. */
export async function* dataBatches(runtime: Runtime, table: Table, { batchSize, maxLength, seed }: { batchSize: number; maxLength?: number; seed: number }): AsyncGenerator<DataBatch> {
  const objective = runtime.head && runtime.head.task !== 'regress' ? await loadObjective(runtime.head.task) : null;
  const longest = runtime.model.input === 'text' ? runtime.tokenizer.maxLength : 0;
  const p: Preparation = { runtime, table, maxLength: Math.min(maxLength ?? longest, longest), options: defaults(objective?.options ?? {}), seed };
  if (objective) objective.require(table, p.options);
  else table.requireColumns([runtime.model.input]);
  let first = 0;
  for await (const rows of table.rows(batchSize)) {
    const batch = objective ? await scoredBatch(objective, rows, first, p) : withoutLabels(await plainInputs(rows, first, p));
    first += rows.length;
    if (batch) yield batch;
  }
}

async function scoredBatch(objective: Objective, rows: Row[], first: number, p: Preparation): Promise<DataBatch | null> {
  const prepared = await objective.prepare(rows, first, p);
  const examples = objective.arrange?.(prepared, p) ?? prepared;
  if (examples.length === 0) return null;
  const { inputs, targets: { labels, positions } } = objective.batch(examples, 0, p);
  const batch = withoutLabels(inputs);
  const { tokens } = batch;
  if (!tokens || !(positions || labels.length === tokens.length)) return batch;
  const scored = new Uint8Array(tokens.length);
  labels.forEach((label, i) => { if (label !== -100) scored[positions ? positions[i] : i] = 1; });
  return { ...batch, scored: scored.map((s, i) => s & tokens[i]) };
}

function withoutLabels(inputs: Batch): DataBatch {
  const tokens = inputs.kind === 'text' ? Uint8Array.from(inputs.mask.dataSync()) : null;
  return { inputs, tokens, scored: tokens };
}

async function plainInputs(rows: Row[], first: number, p: Preparation): Promise<Batch> {
  const { model } = p.runtime;
  if (model.input === 'text') return padBatch(rows.map((row, i) => p.runtime.tokenizer.encode(textOf(row, 'text', p, first + i), row.text_pair as string | undefined, p.maxLength)), p.runtime.tokenizer.padId);
  const shape = rawShape(p.table.schema.fields.find((f) => f.name === 'image')?.metadata);
  return tensorOf(await Promise.all(rows.map((row, i) => fittedPixels(row.image, shape, model.imageSize ?? null, where(p, first + i)))));
}

/**
 * Runs one batch through the frozen model and hands over the input of each wanted site while it is computed, as rows [m, dimIn] of
 * the kept positions: no more than one layer's activations are held at a time. Frees the batch.
 */
export function observeInputs(runtime: Runtime, batch: DataBatch, keep: Uint8Array | null, wanted: (site: Site) => boolean, each: (site: Site, X: Float32Array) => void): void {
  const observe = (site: Site, x: Tensor): void => { if (wanted(site)) each(site, keptRows(x, keep)); };
  scoped(() => (runtime.head ? runtime.logits(batch.inputs, { observe }) : runtime.features(batch.inputs, { observe })));
  disposeBatch(batch.inputs as never);
}

function keptRows(x: Tensor, keep: Uint8Array | null): Float32Array {
  const values = x.dataSync() as Float32Array;
  const d = x.shape.at(-1)!;
  // Pooled features have a row an example, not a token.
  if (!keep || keep.length * d !== values.length) return values.slice();
  const out = new Float32Array(keep.reduce((a, b) => a + b, 0) * d);
  let to = 0;
  keep.forEach((k, i) => { if (k) out.set(values.subarray(i * d, (i + 1) * d), (to++) * d); });
  return out;
}
