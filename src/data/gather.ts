import { DataType, makeData, vectorFromArray, Vector, type Data, type RecordBatch, type Schema } from 'apache-arrow';
import { assemble } from '../formats/rows.js';

/** Rows of several batches: `part[i]` says which batch, `row[i]` which row of it. */
export interface Picks { part: ArrayLike<number>; row: ArrayLike<number>; length: number }

/** A batch of picked rows of batches of one schema, types and metadata kept. */
export function gatherRows(schema: Schema, batches: readonly RecordBatch[], picks: Picks): RecordBatch {
  return assemble(schema, schema.fields.map((f, c) => gather(f.type, batches.map((b) => b.data.children[c]), picks)), picks.length);
}

/** Some rows of one batch. */
export function takeRows(batch: RecordBatch, rows: ArrayLike<number>): RecordBatch {
  return gatherRows(batch.schema, [batch], { part: new Uint8Array(rows.length), row: rows, length: rows.length });
}

function gather(type: DataType, parts: readonly Data[], picks: Picks): Data {
  if (DataType.isDictionary(type)) return gatherDictionary(type, parts, picks);
  const { nullBitmap, nullCount } = gatherNulls(parts, picks);
  const common = { length: picks.length, nullCount, nullBitmap };
  if (DataType.isNull(type)) return makeData({ type, length: picks.length });
  if (DataType.isBool(type)) return makeData({ type, ...common, data: bitmap(picks, (p, r) => bit(parts[p].values, parts[p].offset + r)) });
  if (DataType.isUtf8(type) || DataType.isBinary(type)) return makeData({ type, ...common, ...gatherBytes(parts, picks) } as never);
  if (DataType.isStruct(type)) return makeData({ type, ...common, children: type.children.map((f, c) => gather(f.type, parts.map((p) => p.children[c]), picks)) });
  if (DataType.isFixedSizeList(type)) {
    const below = expand(picks, (_p, r) => r * type.listSize, () => type.listSize);
    return makeData({ type, ...common, child: gather(type.valueType, parts.map((p) => p.children[0]), below.picks) });
  }
  if (DataType.isList(type)) {
    const below = expand(picks, (p, r) => parts[p].valueOffsets[r], (p, r) => parts[p].valueOffsets[r + 1] - parts[p].valueOffsets[r]);
    return makeData({ type, ...common, valueOffsets: below.offsets, child: gather(type.valueType, parts.map((p) => p.children[0]), below.picks) });
  }
  if (parts[0].children.length === 0 && !parts[0].valueOffsets && !DataType.isUnion(type)) return makeData({ type, ...common, data: gatherFixed(parts, picks) } as never);
  // Anything rarer goes value by value.
  const vectors = parts.map((p) => new Vector([p]));
  return vectorFromArray(Array.from({ length: picks.length }, (_, i) => vectors[picks.part[i]].get(picks.row[i])), type).data[0];
}

function gatherFixed(parts: readonly Data[], { part, row, length }: Picks): ArrayLike<number> {
  const { stride } = parts[0];
  const out = new (parts[0].values.constructor as new (n: number) => Uint8Array)(length * stride);
  if (stride === 1) for (let i = 0; i < length; i++) out[i] = parts[part[i]].values[row[i]];
  else for (let i = 0; i < length; i++) out.set(parts[part[i]].values.subarray(row[i] * stride, (row[i] + 1) * stride), i * stride);
  return out;
}

function gatherBytes(parts: readonly Data[], { part, row, length }: Picks): { valueOffsets: Int32Array; data: Uint8Array } {
  const valueOffsets = new Int32Array(length + 1);
  for (let i = 0; i < length; i++) {
    const o = parts[part[i]].valueOffsets;
    valueOffsets[i + 1] = valueOffsets[i] + o[row[i] + 1] - o[row[i]];
  }
  const data = new Uint8Array(valueOffsets[length]);
  for (let i = 0; i < length; i++) {
    const { valueOffsets: o, values } = parts[part[i]];
    data.set(values.subarray(o[row[i]], o[row[i] + 1]), valueOffsets[i]);
  }
  return { valueOffsets, data };
}

function gatherDictionary(type: DataType & { indices: DataType }, parts: readonly Data[], picks: Picks): Data {
  const [{ dictionary }] = parts;
  if (parts.every((p) => p.dictionary === dictionary)) {
    return makeData({ type, length: picks.length, ...gatherNulls(parts, picks), data: gatherFixed(parts, picks), dictionary } as never);
  }
  const vectors = parts.map((p) => new Vector([p]));
  return vectorFromArray(Array.from({ length: picks.length }, (_, i) => vectors[picks.part[i]].get(picks.row[i])), type).data[0];
}

function gatherNulls(parts: readonly Data[], picks: Picks): { nullBitmap: Uint8Array | undefined; nullCount: number } {
  if (parts.every((p) => p.nullCount === 0)) return { nullBitmap: undefined, nullCount: 0 };
  let nullCount = 0;
  const nullBitmap = bitmap(picks, (p, r) => {
    const valid = parts[p].getValid(r);
    if (!valid) nullCount++;
    return valid;
  });
  return { nullBitmap, nullCount };
}

const bit = (bytes: Uint8Array, i: number): boolean => ((bytes[i >> 3] >> (i & 7)) & 1) === 1;

function bitmap({ part, row, length }: Picks, set: (part: number, row: number) => boolean): Uint8Array {
  const out = new Uint8Array(Math.ceil(length / 8));
  for (let i = 0; i < length; i++) if (set(part[i], row[i])) out[i >> 3] |= 1 << (i & 7);
  return out;
}

/** The picks of the items of picked lists. */
function expand({ part, row, length }: Picks, start: (p: number, r: number) => number, size: (p: number, r: number) => number): { offsets: Int32Array; picks: Picks } {
  const offsets = new Int32Array(length + 1);
  for (let i = 0; i < length; i++) offsets[i + 1] = offsets[i] + size(part[i], row[i]);
  const parts = new Int32Array(offsets[length]), rows = new Int32Array(offsets[length]);
  for (let i = 0; i < length; i++) {
    const from = start(part[i], row[i]) - offsets[i];
    for (let k = offsets[i]; k < offsets[i + 1]; k++) {
      parts[k] = part[i];
      rows[k] = from + k;
    }
  }
  return { offsets, picks: { part: parts, row: rows, length: offsets[length] } };
}
