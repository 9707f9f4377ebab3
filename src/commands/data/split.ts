import { HeldTable } from '../../data/held.js';
import { parsePositions, parseShares, partsAt, randomParts } from '../../data/splits.js';
import { writeTables } from '../../data/write.js';
import { usageError } from '../../errors.js';
import { openTable } from '../../formats/table.js';
import type { Operation } from './operation.js';

const operation: Operation = {
  name: 'split',
  summary: 'several files from one: at random by shares, or at row numbers (the table is held in memory)',
  operands: 'FILE OUTPUT OUTPUT...',
  options: {
    fraction: { type: 'string', metavar: 'P,...', describe: 'the share of each output; that of the last may be left out' },
    at: { type: 'string', metavar: 'N,...', describe: 'where the second output and the following begin, in the order of the rows' },
    stratify: { type: 'string', metavar: 'COLUMN', describe: 'with --fraction: each output gets its share of every value of this column' },
  },
  async run(args) {
    const [input, ...outputs] = args._;
    if (outputs.length < 2 || args.output) throw usageError('split takes FILE OUTPUT OUTPUT...: an input and at least two files to write');
    if ((args.fraction === undefined) === (args.at === undefined)) throw usageError('give either --fraction or --at');
    if (args.at && args.stratify) throw usageError('--stratify goes with --fraction');
    if (new Set(outputs).size < outputs.length) throw usageError('two outputs have the same name');
    const shares = args.fraction ? parseShares(args.fraction, outputs.length) : null;
    const positions = args.at ? parsePositions(args.at, outputs.length) : [];
    const held = await HeldTable.read(await openTable(input, { columns: args.columns }));
    const parts = shares
      ? randomParts(held.length, shares, args.seed, args.stratify ? held.values(args.stratify) : undefined)
      : partsAt(held.length, positions);
    await writeTables(outputs.map((path, i) => ({ path, schema: held.table.schema, batches: held.take(parts[i]) })));
  },
};

export default operation;
