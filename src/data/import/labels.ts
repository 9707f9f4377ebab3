import { DataType, Field, Int64, List, Schema, type RecordBatch } from 'apache-arrow';
import { dataError, usageError } from '../../errors.js';
import { classNames, withClassLabel } from '../../formats/features.js';
import { assemble, batchOf, rowsOf } from '../../formats/rows.js';
import type { Flow } from '../columns.js';

export interface LabelOptions {
  /** The column that holds classes, or lists of them. */
  column: string;
  /** Class names in index order; without them the values found are the classes, sorted. */
  names?: readonly string[];
  /** With names: a value that is an integer counts the classes from this number. */
  first: number;
}

/**
 * Turns a column of class names or numbers into class labels (nullable int64 with their names in the schema), as `datasets` does. Null and empty texts are missing labels.
 * @param open starts reading; called twice where the names have to be collected first
 * @param pass what the caller is after: where it is names only, one reading is enough
 * @throws GraftError (65) for a value that is no class
 */
export async function labelColumn(open: (pass: 'names' | 'rows') => Promise<Flow>, pass: 'names' | 'rows', options: LabelOptions, where: string): Promise<Flow> {
  const flow = await open(options.names ? pass : 'names');
  const field = flow.schema.fields.find((f) => f.name === options.column);
  if (!field || classNames(flow.schema, options.column) || !holdsClasses(field.type)) return options.names ? flow : open(pass);
  const names = options.names ?? sorted(await collect(flow, options.column));
  const second = options.names ? flow : await open(pass);
  return encode(second, field, { ...options, names }, where);
}

function holdsClasses(type: DataType): boolean {
  const item = DataType.isList(type) ? type.valueType : type;
  return DataType.isUtf8(item) || DataType.isInt(item);
}

async function collect({ batches }: Flow, column: string): Promise<Set<string>> {
  const found = new Set<string>();
  for await (const batch of batches) {
    for (const value of batch.getChild(column)!) {
      for (const v of isList(value) ? value : [value]) if (!isMissing(v)) found.add(String(v));
    }
    if (found.size > MOST_CLASSES) throw usageError(`more than ${MOST_CLASSES} different values in '${column}': are these classes? --label none leaves the column alone`);
  }
  return found;
}

const MOST_CLASSES = 10000;

/** An empty field of a CSV file is no class of that name. */
const isMissing = (value: unknown): boolean => value === null || value === '';

const isList = (value: unknown): value is Iterable<unknown> => typeof value === 'object' && value !== null;

/** Numbers by their value, anything else by code points. */
function sorted(found: Set<string>): string[] {
  const values = [...found];
  return values.every((v) => /^-?\d+$/.test(v)) ? values.sort((a, b) => Number(a) - Number(b)) : values.sort();
}

function encode({ schema, batches }: Flow, field: Field, { column, names, first }: LabelOptions & { names: readonly string[] }, where: string): Flow {
  const list = DataType.isList(field.type);
  const type = list ? new List(new Field('item', new Int64(), true)) : new Int64();
  const fields = schema.fields.map((f) => (f.name === column ? new Field(column, type, true, f.metadata) : f));
  const out = withClassLabel(new Schema(fields, schema.metadata), column, names);
  const index = new Map(names.map((n, i) => [n, i]));
  const number = (value: unknown, row: number): number | null => {
    if (isMissing(value)) return null;
    const text = String(value);
    const found = index.get(text) ?? (/^-?\d+$/.test(text) ? Number(text) - first : -1);
    if (!(found >= 0 && found < names.length)) throw dataError(`${where}: row ${row}: '${text}' in column '${column}' is none of the classes ${names.slice(0, 20).join(', ')}`);
    return found;
  };
  const at = schema.fields.findIndex((f) => f.name === column);
  const source = new Schema([field]), alone = new Schema([out.fields[at]]);
  async function* all(): AsyncGenerator<RecordBatch> {
    let row = 0;
    for await (const batch of batches) {
      const values = rowsOf(assemble(source, [batch.data.children[at]], batch.numRows)).map((r) => {
        const value = r[column];
        row++;
        return { [column]: list && value !== null ? (value as unknown[]).map((v) => number(v, row)) : number(value, row) };
      });
      const columns = [...batch.data.children];
      columns[at] = batchOf(alone, values).data.children[0];
      yield assemble(out, columns, batch.numRows);
    }
  }
  return { schema: out, batches: all() };
}
