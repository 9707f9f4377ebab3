import { Field, Schema, vectorFromArray, type RecordBatch } from 'apache-arrow';
import { keepColumns, withColumn, type Flow } from '../../data/columns.js';
import { writeTable } from '../../data/write.js';
import { dataError } from '../../errors.js';
import { classNames } from '../../formats/features.js';
import { openTable, type Table } from '../../formats/table.js';
import type { Operation } from './operation.js';

const operation: Operation = {
  name: 'concat',
  summary: 'the rows of several files, one after another; they must have the same columns',
  operands: 'FILE...',
  options: { fill: { type: 'boolean', default: false, describe: 'a column that a further file lacks is missing (null) in its rows' } },
  async run(args) {
    const paths = args._.length > 0 ? args._ : ['-'];
    const tables: Table[] = [];
    for (const path of paths) tables.push(await openTable(path, { columns: args.columns }));
    const [{ schema: first, name }] = tables;
    for (const table of tables.slice(1)) requireSame(first, table, name, args.fill);
    const lacked = (field: Field): boolean => tables.some((t) => !t.columns.includes(field.name));
    const schema = new Schema(first.fields.map((f) => (lacked(f) ? new Field(f.name, f.type, true, f.metadata) : f)), first.metadata);
    await writeTable(args.output, schema, joined(schema, tables));
  },
};

export default operation;

async function* joined(schema: Schema, tables: readonly Table[]): AsyncGenerator<RecordBatch> {
  for (const table of tables) {
    const lacks = schema.fields.filter((f) => !table.columns.includes(f.name));
    const whole = lacks.reduce<Flow>((flow, f) => withColumn(flow, f, (batch) => vectorFromArray(new Array<null>(batch.numRows).fill(null), f.type).data[0]), { schema: table.schema, batches: table.batches() });
    yield* keepColumns(whole, schema.fields.map((f) => f.name), table.name).batches;
  }
}

/** @throws GraftError (65) naming the first column that differs */
function requireSame(schema: Schema, table: Table, first: string, fill: boolean): void {
  if (!fill) table.requireColumns(schema.fields.map((f) => f.name));
  for (const other of table.schema.fields) {
    const field = schema.fields.find((f) => f.name === other.name);
    if (!field) throw dataError(`${table.name}: has a column '${other.name}' that ${first} lacks (graft data select --drop ${other.name})`);
    if (field.type.toString() !== other.type.toString()) throw dataError(`${table.name}: column '${other.name}' is ${other.type}, in ${first} it is ${field.type}`);
    const [a, b] = [classNames(schema, other.name), classNames(table.schema, other.name)].map((n) => n?.join(', '));
    if (a !== b) throw dataError(`${table.name}: the classes of '${other.name}' are ${b ?? 'not named'}, in ${first} they are ${a ?? 'not named'} (graft data import --labels)`);
    if (field.metadata.get('shape') !== other.metadata.get('shape')) throw dataError(`${table.name}: the shape of '${other.name}' is ${other.metadata.get('shape')}, in ${first} it is ${field.metadata.get('shape')}`);
  }
}
