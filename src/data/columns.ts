import { Field, RecordBatch, Schema, Utf8, vectorFromArray } from 'apache-arrow';
import { dataError, usageError } from '../errors.js';
import { featuresOf, withFeatures } from '../formats/features.js';
import { assemble } from '../formats/rows.js';
import type { OptionSpecs } from '../options.js';

/** A table on its way. */
export interface Flow { schema: Schema; batches: AsyncIterable<RecordBatch> }

export const setOption = {
  set: { type: 'string', metavar: 'COLUMN=TEXT', describe: 'add a column that is the same in every row; repeatable', array: true },
} as const satisfies OptionSpecs;

/** Adds (or replaces) text columns of one value. @throws GraftError (usage) for an assignment that is none */
export function setColumns({ schema, batches }: Flow, assignments: readonly string[]): Flow {
  let flow: Flow = { schema, batches };
  for (const assignment of assignments) {
    const at = assignment.indexOf('=');
    if (at < 1) throw usageError(`--set ${assignment}: write it as column=text`);
    const value = assignment.slice(at + 1);
    flow = withColumn(flow, new Field(assignment.slice(0, at), new Utf8(), false), (batch) => vectorFromArray(Array<string>(batch.numRows).fill(value), new Utf8()).data[0]);
  }
  return flow;
}

/** Adds a column computed from each batch, in place of one of the same name if there is one. */
export function withColumn({ schema, batches }: Flow, field: Field, make: (batch: RecordBatch) => RecordBatch['data']['children'][number]): Flow {
  const kept = schema.fields.map((f, i) => ({ f, i })).filter(({ f }) => f.name !== field.name);
  const out = new Schema([...kept.map(({ f }) => f), field], schema.metadata);
  async function* all(): AsyncGenerator<RecordBatch> {
    for await (const batch of batches) yield assemble(out, [...kept.map(({ i }) => batch.data.children[i]), make(batch)], batch.numRows);
  }
  return { schema: out, batches: all() };
}

/** Renames columns, `new=old,…`; a column that has a new name already gives way. @throws GraftError (65) where `old` is missing */
export function renameColumns(flow: Flow, renames: string | undefined, where: string): Flow {
  if (!renames) return flow;
  const pairs = renames.split(',').map((p) => p.split('='));
  for (const p of pairs) {
    if (p.length !== 2 || !p[0] || !p[1]) throw usageError(`--columns ${renames}: write it as new=old,new=old`);
    if (!flow.schema.names.includes(p[1])) throw dataError(`${where}: has no column '${p[1]}'; it has ${flow.schema.names.join(', ')}`);
  }
  const fresh = new Map(pairs.map(([now, old]) => [old, now])), taken = new Set(pairs.map(([now]) => now));
  const names = flow.schema.fields.filter((f) => fresh.has(f.name) || !taken.has(f.name)).map((f) => f.name);
  return keepColumns(flow, names, where, (name) => fresh.get(name) ?? name);
}

/** Only these columns, in this order. @throws GraftError (65) where one is missing */
export function keepColumns({ schema, batches }: Flow, names: readonly string[], where: string, rename = (name: string): string => name): Flow {
  const picked = names.map((name) => {
    const index = schema.fields.findIndex((f) => f.name === name);
    if (index < 0) throw dataError(`${where}: has no column '${name}'; it has ${schema.names.join(', ')}`);
    return index;
  });
  const fields = picked.map((i) => schema.fields[i]).map((f) => new Field(rename(f.name), f.type, f.nullable, f.metadata));
  const features = featuresOf(schema);
  const plain = new Schema(fields, schema.metadata, schema.dictionaries);
  const described = names.filter((n) => features[n]);
  const out = Object.keys(features).length > 0 ? withFeatures(plain, Object.fromEntries(described.map((n) => [rename(n), features[n]]))) : plain;
  async function* all(): AsyncGenerator<RecordBatch> {
    for await (const batch of batches) yield assemble(out, picked.map((i) => batch.data.children[i]), batch.numRows);
  }
  return { schema: out, batches: all() };
}
