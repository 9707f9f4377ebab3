import type { RecordBatch, Schema } from 'apache-arrow';
import { keepColumns } from '../../data/columns.js';
import { writeTable } from '../../data/write.js';
import { dataError } from '../../errors.js';
import { classNames } from '../../formats/features.js';
import { openTable, type Table } from '../../formats/table.js';
import type { Operation } from './operation.js';

const operation: Operation = {
  name: 'concat',
  summary: 'the rows of several files, one after another; they must have the same columns',
  operands: 'FILE...',
  options: {},
  async run(args) {
    const paths = args._.length > 0 ? args._ : ['-'];
    const tables: Table[] = [];
    for (const path of paths) tables.push(await openTable(path, { columns: args.columns }));
    const [{ schema }] = tables;
    for (const table of tables.slice(1)) requireSame(schema, table, tables[0].name);
    await writeTable(args.output, schema, joined(schema, tables));
  },
};

export default operation;

async function* joined(schema: Schema, tables: readonly Table[]): AsyncGenerator<RecordBatch> {
  for (const table of tables) yield* keepColumns({ schema: table.schema, batches: table.batches() }, schema.fields.map((f) => f.name), table.name).batches;
}

/** @throws GraftError (65) naming the first column that differs */
function requireSame(schema: Schema, table: Table, first: string): void {
  table.requireColumns(schema.fields.map((f) => f.name));
  for (const other of table.schema.fields) {
    const field = schema.fields.find((f) => f.name === other.name);
    if (!field) throw dataError(`${table.name}: has a column '${other.name}' that ${first} lacks (graft data select --drop ${other.name})`);
    if (field.type.toString() !== other.type.toString()) throw dataError(`${table.name}: column '${other.name}' is ${other.type}, in ${first} it is ${field.type}`);
    const [a, b] = [classNames(schema, other.name), classNames(table.schema, other.name)].map((n) => n?.join(', '));
    if (a !== b) throw dataError(`${table.name}: the classes of '${other.name}' are ${b ?? 'not named'}, in ${first} they are ${a ?? 'not named'} (graft data import --labels)`);
    if (field.metadata.get('shape') !== other.metadata.get('shape')) throw dataError(`${table.name}: the shape of '${other.name}' is ${other.metadata.get('shape')}, in ${first} it is ${field.metadata.get('shape')}`);
  }
}
