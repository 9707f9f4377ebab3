import type { RecordBatch } from 'apache-arrow';
import { Rng } from '@graft/kernels/random';
import { keepColumns, setColumns, setOption, type Flow } from '../../data/columns.js';
import { takeRows } from '../../data/gather.js';
import { HeldTable } from '../../data/held.js';
import { conditions } from '../../data/where.js';
import { writeTable } from '../../data/write.js';
import { usageError } from '../../errors.js';
import { openTable, type Table } from '../../formats/table.js';
import type { Arguments } from '../command.js';
import type { Operation } from './operation.js';

/** The one input of an operation. @throws GraftError (usage) where there are more */
export function openInput(args: Arguments): Promise<Table> {
  if (args._.length > 1) throw usageError(`unexpected operand '${args._[1]}': one FILE is read; graft data concat joins several`);
  return openTable(args._[0] ?? '-', { columns: args.columns });
}

export const head: Operation = {
  name: 'head', summary: 'the first rows', operands: '[FILE]',
  options: { n: { type: 'number', alias: 'n', metavar: 'N', describe: 'how many rows', default: 10, min: 0 } },
  async run(args) {
    const table = await openInput(args);
    await writeTable(args.output, table.schema, first(table, args.n));
  },
};

async function* first(table: Table, n: number): AsyncGenerator<RecordBatch> {
  if (n === 0) return;
  for await (const batch of table.batches()) {
    yield batch.slice(0, n);
    n -= batch.numRows;
    if (n <= 0) return;
  }
}

export const tail: Operation = {
  name: 'tail', summary: 'the last rows', operands: '[FILE]',
  options: { n: { type: 'number', alias: 'n', metavar: 'N', describe: 'how many rows', default: 10, min: 0 } },
  async run(args) {
    const table = await openInput(args);
    const held: RecordBatch[] = [];
    let size = 0;
    for await (const batch of table.batches()) {
      held.push(batch);
      size += batch.numRows;
      while (held.length > 0 && size - held[0].numRows >= args.n) size -= held.shift()!.numRows;
    }
    if (held.length > 0) held[0] = held[0].slice(size - args.n > 0 ? size - args.n : 0);
    await writeTable(args.output, table.schema, held);
  },
};

export const sample: Operation = {
  name: 'sample', summary: 'random rows, in their order', operands: '[FILE]',
  options: {
    n: { type: 'number', alias: 'n', metavar: 'N', describe: 'exactly this many (the table is held in memory)', min: 0 },
    fraction: { type: 'number', metavar: 'P', describe: 'each row with this probability, as they come', min: 0, max: 1 },
  },
  async run(args) {
    if ((args.n === undefined) === (args.fraction === undefined)) throw usageError('give either -n or --fraction');
    const table = await openInput(args);
    const rng = new Rng(args.seed, 'sample');
    if (args.fraction !== undefined) {
      const kept = filtered(table, (batch) => Uint32Array.from({ length: batch.numRows }, (_, i) => i).filter(() => rng.uniform() < args.fraction));
      return writeTable(args.output, table.schema, kept);
    }
    const held = await HeldTable.read(table);
    await writeTable(args.output, table.schema, held.take(rng.permutation(held.length).slice(0, args.n).sort()));
  },
};

export const shuffle: Operation = {
  name: 'shuffle', summary: 'all rows in random order (the table is held in memory)', operands: '[FILE]', options: {},
  async run(args) {
    const held = await HeldTable.read(await openInput(args));
    await writeTable(args.output, held.table.schema, held.take(new Rng(args.seed, 'shuffle').permutation(held.length)));
  },
};

export const select: Operation = {
  name: 'select', summary: 'rows by conditions, columns by name', operands: '[FILE]',
  options: {
    where: { type: 'string', metavar: 'COLUMN=VALUE', describe: 'rows for which this holds (=, !=, <, <=, >, >=); repeatable, all must hold', array: true },
    keep: { type: 'string', metavar: 'COLUMN,...', describe: 'only these columns, in this order' },
    drop: { type: 'string', metavar: 'COLUMN,...', describe: 'all columns but these' },
    shard: { type: 'string', metavar: 'I/N', describe: 'every Nth row from the Ith, counted from 1' },
    ...setOption,
  },
  async run(args) {
    const table = await openInput(args);
    const shard = parseShard(args.shard);
    const wanted = conditions(args.where, table.schema, table.name);
    const sharded = shard ? filtered(table, shard) : table.batches();
    let flow: Flow = { schema: table.schema, batches: args.where.length > 0 ? filtered({ batches: () => sharded }, wanted) : sharded };
    if (args.keep) flow = keepColumns(flow, args.keep.split(','), table.name);
    if (args.drop) {
      table.requireColumns(args.drop.split(','));
      flow = keepColumns(flow, flow.schema.fields.map((f) => f.name).filter((n) => !args.drop.split(',').includes(n)), table.name);
    }
    flow = setColumns(flow, args.set);
    await writeTable(args.output, flow.schema, flow.batches);
  },
};

async function* filtered(table: { batches(): AsyncIterable<RecordBatch> }, wanted: (batch: RecordBatch) => Uint32Array): AsyncGenerator<RecordBatch> {
  for await (const batch of table.batches()) {
    const rows = wanted(batch);
    yield rows.length === batch.numRows ? batch : takeRows(batch, rows);
  }
}

/** `i/n`, counted from 1. @throws GraftError (usage) */
function parseShard(text: string | undefined): ((batch: RecordBatch) => Uint32Array) | null {
  if (text === undefined) return null;
  const [i, n] = text.split('/').map(Number);
  if (!(Number.isInteger(i) && Number.isInteger(n) && i >= 1 && i <= n)) throw usageError(`--shard ${text}: write it as I/N with I from 1 to N`);
  let row = 0;
  return (batch) => Uint32Array.from({ length: batch.numRows }, (_, k) => k).filter(() => row++ % n === i - 1);
}
