import { createHash } from 'node:crypto';
import { scoped, type Tensor } from '@graft/kernels';
import { defaults } from '../adapters/instantiate.js';
import { disposeBatch, padBatch } from '../data/encode.js';
import { fittedPixels, rawShape, tensorOf } from '../data/image-input.js';
import { dataError, usageError } from '../errors.js';
import { bytesOf } from '../formats/dtype.js';
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

/** The model with its graft, and its batches, from the beginning at every call. */
export interface Data { runtime: Runtime; batches(): AsyncIterable<DataBatch> }

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
  if (model.input === 'noise') throw usageError('statistics of a diffusion model need --objective diffusion, which adds the noise');
  if (model.input === 'text') return padBatch(rows.map((row, i) => p.runtime.tokenizer.encode(textOf(row, 'text', p, first + i), row.text_pair as string | undefined, p.maxLength)), p.runtime.tokenizer.padId);
  const shape = rawShape(p.table.schema.fields.find((f) => f.name === 'image')?.metadata);
  return tensorOf(await Promise.all(rows.map((row, i) => fittedPixels(row.image, shape, model.imageSize ?? null, where(p, first + i)))));
}

/** What is gathered about the inputs of a site, batch by batch. `lengths`: how many of the rows of X [m, d] each example gave. */
export interface Statistic { update(X: Float32Array, lengths: readonly number[]): void }

/** Which positions of a batch count. */
export type Keep = (batch: DataBatch) => Uint8Array | null;

/** Memory that statistics may take together, in bytes; one module's is gathered however large it is. */
const STATISTICS_MEMORY = 1 << 30;

/**
 * A statistic of what each site reads, over all of the data, handed over as soon as it is whole so that it can be freed: the data is
 * run through as often as statistics of all sites together are larger than `memory`. Sites that read the same share one.
 * @param bytes what the statistic of a site of d inputs takes
 * Sites that the data never reaches are left out.
 * @throws GraftError (usage) where these are all
 */
export async function* statistics<S extends Statistic>(data: Data, sites: readonly Site[], keep: Keep, make: (d: number) => S, bytes: (d: number) => number, memory = STATISTICS_MEMORY): AsyncGenerator<{ sites: Site[]; statistic: S }> {
  const groups = await sameInputs(data, sites, keep);
  while (groups.length > 0) {
    const held = new Map<Site, { sites: Site[]; statistic: S }>();
    for (let room = memory; groups.length > 0 && (held.size === 0 || bytes(groups[0][0].dimIn) <= room); room -= bytes(groups.shift()![0].dimIn)) {
      held.set(groups[0][0], { sites: groups[0], statistic: make(groups[0][0].dimIn) });
    }
    for await (const batch of data.batches()) observeInputs(data.runtime, batch, keep(batch), (s) => held.has(s), (s, X, lengths) => held.get(s)!.statistic.update(X, lengths));
    yield* held.values();
  }
}

/** Sites by what they read, which the first batch shows; those it never reaches (a pooler without a head) are left out. @throws GraftError (usage) where these are all */
export async function sameInputs(data: Data, sites: readonly Site[], keep: Keep): Promise<Site[][]> {
  const groups = new Map<string, Site[]>(), unseen = new Set(sites);
  for await (const batch of data.batches()) {
    observeInputs(data.runtime, batch, keep(batch), (s) => unseen.has(s), (site, X) => {
      unseen.delete(site);
      const hash = createHash('sha1').update(`${site.dimIn} `).update(bytesOf(X)).digest('hex');
      groups.set(hash, [...(groups.get(hash) ?? []), site]);
    });
    if (groups.size === 0) throw usageError('the data never reaches the modules of this graft');
    return [...groups.values()];
  }
  throw dataError('the data has no rows');
}

function examplesOf(inputs: Batch): number {
  return (inputs.kind === 'text' ? inputs.ids : inputs.kind === 'image' ? inputs.pixels : inputs.x).shape[0];
}

/** Thrown through a forward pass whose rest nobody wants. */
const ENOUGH = Symbol('enough');

/**
 * Runs one batch through the frozen model and hands over the input of each wanted site while it is computed, as rows [m, dimIn] of
 * the kept positions: no more than one layer's activations are held at a time, and what lies above the last wanted site is not
 * computed. Frees the batch.
 */
export function observeInputs(runtime: Runtime, batch: DataBatch, keep: Uint8Array | null, wanted: (site: Site) => boolean, each: (site: Site, X: Float32Array, lengths: number[]) => void): void {
  const examples = examplesOf(batch.inputs);
  const left = new Set(runtime.model.sites.filter((s) => (s.kind === 'linear' || s.kind === 'conv') && wanted(s)));
  const texts = batch.inputs.kind === 'text' ? batch.inputs.lengths : undefined;
  const observe = (site: Site, x: Tensor): void => {
    if (!wanted(site)) return;
    const { X, lengths } = keptRows(x, keep, examples, texts);
    each(site, X, lengths);
    left.delete(site);
    if (left.size === 0) throw ENOUGH;
  };
  try {
    scoped(() => (runtime.head ? runtime.logits(batch.inputs, { observe }) : runtime.features(batch.inputs, { observe })));
  } catch (error) {
    if (error !== ENOUGH) throw error;
  } finally {
    disposeBatch(batch.inputs as never);
  }
}

/** @param texts lengths of texts, which may stand one after another in x, [1, N, d] */
function keptRows(x: Tensor, keep: Uint8Array | null, examples: number, texts: readonly number[] = []): { X: Float32Array; lengths: number[] } {
  const values = x.dataSync() as Float32Array;
  const d = x.shape.at(-1)!, rows = values.length / d;
  const packed = examples > 1 && x.rank === 3 && x.shape[0] === 1 && texts.reduce((a, n) => a + n, 0) === rows;
  // Pooled features have a row an example, not a token.
  if (!keep || !(packed || keep.length === rows)) return { X: values.slice(), lengths: new Array<number>(examples).fill(rows / examples) };
  const X = new Float32Array(keep.reduce((a, b) => a + b, 0) * d);
  const T = keep.length / examples;
  let to = 0, before = 0;
  const lengths = Array.from({ length: examples }, (_, b) => {
    const start = to;
    for (let t = 0; t < T; t++) {
      if (!keep[b * T + t]) continue;
      const row = before + t;
      X.set(values.subarray(row * d, (row + 1) * d), (to++) * d);
    }
    before += packed ? texts[b] : T;
    return to - start;
  });
  return { X, lengths };
}
