import { Rng } from '@graft/kernels/random';
import { Field, Int32, vectorFromArray, type RecordBatch } from 'apache-arrow';
import { withColumn, type Flow } from '../../data/columns.js';
import { HeldTable } from '../../data/held.js';
import { groupsOf } from '../../data/splits.js';
import { orderDomains } from '../../data/streams/orders.js';
import { settingNamed, settingNames, settings } from '../../data/streams/settings.js';
import type { StreamSetting } from '../../data/streams/stream.js';
import { writeTable } from '../../data/write.js';
import { usageError } from '../../errors.js';
import { isTrue } from '../../formats/rows.js';
import { kebab, type OptionSpecs } from '../../options.js';
import type { Arguments } from '../command.js';
import { openInput } from './rows.js';
import type { Operation } from './operation.js';

const settingOptions: OptionSpecs = Object.assign({}, ...settings().map((s) => s.options));

const operation: Operation = {
  name: 'stream',
  summary: 'rows in the order in which a method meets them at test time (the table is held in memory)',
  operands: '[FILE]',
  options: {
    setting: { type: 'string', metavar: 'NAME', describe: settings().map((s) => `${s.name}: ${s.summary}`).join('; '), choices: settingNames(), default: 'continual' },
    order: { type: 'string', metavar: 'NAME,...', describe: 'domains in this order, or 0 to 9: a published order of the fifteen corruptions; default: that of the benchmark' },
    rounds: { type: 'number', metavar: 'N', describe: 'the whole stream this many times, with a column round', default: 1, min: 1 },
    ...Object.fromEntries(Object.entries(settingOptions).map(([name, spec]) => [name, { ...spec, default: undefined }])),
  },
  async run(args) {
    const setting = settingNamed(args.setting);
    for (const name of Object.keys(settingOptions)) if (args[name] !== undefined && !(name in setting.options)) throw usageError(`--${kebab(name)} is no option of the setting ${setting.name}`);
    const held = await HeldTable.read(await openInput(args));
    const rows = orderOf(setting, held, args);
    const flow = args.rounds > 1 ? rounds(held, rows, args.rounds) : { schema: held.table.schema, batches: held.take(rows) };
    await writeTable(args.output, flow.schema, flow.batches);
  },
};

export default operation;

function orderOf(setting: StreamSetting, held: HeldTable, args: Arguments): Uint32Array {
  const names = held.values('domain').map(String);
  const groups = new Map(groupsOf(names).map((rows) => [names[rows[0]], rows]));
  const domains = orderDomains([...groups.keys()], args.order).map((name) => ({ name, rows: groups.get(name)! }));
  const column = (name: StreamSetting['needs'][number]): unknown[] | null => (setting.needs.includes(name) ? held.values(name) : null);
  const numbers = (name: 'severity' | 'label'): number[] | null => column(name)?.map(Number) ?? null;
  const options = Object.fromEntries(Object.entries(setting.options).map(([name, spec]) => [name, args[name] ?? spec.default]));
  const isOod = column('is_ood')?.map(isTrue) ?? null;
  return setting.order({ domains, severity: numbers('severity'), label: numbers('label'), is_ood: isOod }, new Rng(args.seed, 'stream', setting.name), options);
}

/** The stream again and again, counted from 1. */
function rounds(held: HeldTable, rows: Uint32Array, count: number): Flow {
  let round = 0;
  async function* all(): AsyncGenerator<RecordBatch> {
    for (round = 1; round <= count; round++) yield* held.take(rows);
  }
  return withColumn({ schema: held.table.schema, batches: all() }, new Field('round', new Int32(), false), (b) => vectorFromArray(Array<number>(b.numRows).fill(round), new Int32()).data[0]);
}
