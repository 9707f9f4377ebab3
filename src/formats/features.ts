import { DataType, Schema } from 'apache-arrow';
import type { Row } from './rows.js';

/**
 * The features of Hugging Face `datasets`, which travel in the Arrow schema's metadata under "huggingface" as
 * {"info": {"features": {column: {..., "_type": "ClassLabel" | "Image" | "Audio" | ...}}}}.
 */
type Feature = { _type?: string; names?: string[]; feature?: Feature } & Record<string, unknown>;
type Features = Record<string, Feature | Feature[]>;

const KEY = 'huggingface';

export function featuresOf(schema: Schema): Features {
  try {
    return JSON.parse(schema.metadata.get(KEY) ?? '{}')?.info?.features ?? {};
  } catch {
    return {}; // somebody else's use of the key
  }
}

/** Class names of a ClassLabel column, or of a list of them (tags); null where the column has none. */
export function classNames(schema: Schema, column: string): string[] | null {
  let feature: Feature | Feature[] | undefined = featuresOf(schema)[column];
  while (feature && (Array.isArray(feature) || (feature._type !== 'ClassLabel' && feature.feature))) feature = Array.isArray(feature) ? feature[0] : feature.feature;
  return feature?._type === 'ClassLabel' && Array.isArray(feature.names) ? feature.names : null;
}

/** Puts the names of classes, and of lists of them, in place of their numbers; a number that has none stays. */
export function nameClasses(schema: Schema): (row: Row) => Row {
  const columns = schema.fields.map((f) => ({ column: f.name, names: classNames(schema, f.name) }));
  const name = (value: unknown, names: readonly string[]): unknown => (Array.isArray(value) || ArrayBuffer.isView(value) ? Array.from(value as Iterable<unknown>, (v) => name(v, names)) : names[value as number] ?? value);
  return (row) => Object.fromEntries(columns.map(({ column, names }) => [column, names ? name(row[column], names) : row[column]]));
}

/**
 * The index among `classes` of a label: by name where the data names its classes as they are named here (in another order perhaps, some
 * missing), by number where it names none, or as many with not one name in common. -1 for a label that is none of them.
 */
export function classIndex(classes: readonly string[], names: readonly string[] | null): (value: unknown) => number {
  const index = new Map(classes.map((c, i) => [c, i]));
  const numbered = !names || (names.length === classes.length && !names.some((n) => index.has(n)));
  return (value) => {
    if (typeof value === 'string') return index.get(value) ?? -1;
    if (typeof value !== 'number' || !Number.isInteger(value)) return -1;
    return numbered ? (value >= 0 && value < classes.length ? value : -1) : index.get(names[value]) ?? -1;
  };
}

/** The schema with `column` (int64, or a list of it) described as class labels, the way `datasets` writes them. */
export function withClassLabel(schema: Schema, column: string, names: readonly string[]): Schema {
  const label: Feature = { names: [...names], _type: 'ClassLabel' };
  const list = DataType.isList(schema.fields.find((f) => f.name === column)?.type);
  return withFeatures(schema, { ...featuresOf(schema), [column]: list ? { feature: label, length: -1, _type: 'Sequence' } : label });
}

/** The schema with `column` (struct {bytes, path}) described as encoded images or sounds. */
export function withMedia(schema: Schema, column: string, type: 'Image' | 'Audio'): Schema {
  return withFeatures(schema, { ...featuresOf(schema), [column]: { _type: type } });
}

export function withFeatures(schema: Schema, features: Features): Schema {
  const metadata = new Map(schema.metadata);
  metadata.set(KEY, JSON.stringify({ info: { features } }));
  return new Schema(schema.fields, metadata, schema.dictionaries);
}
