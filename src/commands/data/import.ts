import { dataError, usageError } from '../../errors.js';
import { openTable } from '../../formats/table.js';
import { kebab, type OptionSpecs, type OptionValues } from '../../options.js';
import { renameColumns, setColumns, setOption, type Flow } from '../../data/columns.js';
import type { Importer } from '../../data/import/importer.js';
import { ImportInput } from '../../data/import/input.js';
import { labelColumn } from '../../data/import/labels.js';
import { IMPORTERS, importerFor, importerNamed } from '../../data/import/registry.js';
import { writeTable } from '../../data/write.js';
import type { Arguments } from '../command.js';
import type { Operation } from './operation.js';

/** The options of all formats, without defaults: those of the format that is read are filled in when it is known. */
const formatOptions: OptionSpecs = Object.fromEntries(
  IMPORTERS.flatMap((i) => Object.entries(i.options).map(([name, spec]) => [name, { ...spec, default: undefined, describe: `${ownersOf(name)}: ${spec.describe}` }])));

function ownersOf(option: string): string {
  return IMPORTERS.filter((i) => option in i.options).map((i) => i.name).join(', ');
}

const operation: Operation = {
  name: 'import',
  summary: 'read other formats: csv, tsv, jsonl, conll, pictures, sounds, IDX, FASTA, text, Parquet',
  operands: '[FILE...]',
  options: {
    format: { type: 'string', metavar: 'NAME', describe: 'the format; default: what name and contents tell', choices: IMPORTERS.map((i) => i.name) },
    label: { type: 'string', metavar: 'COLUMN', describe: 'the column of classes, or none; also tags. Their names go into the schema, sorted, which takes a second pass over the input (standard input is held in memory)', default: 'label' },
    labels: { type: 'string', metavar: 'NAME,...', describe: 'class names in index order; one pass is enough then' },
    labelsFrom: { type: 'string', metavar: 'FILE', describe: 'class names of this table: those of the training split, for another one' },
    firstLabel: { type: 'number', metavar: 'N', describe: 'with --labels: classes that are numbers count from this', default: 0 },
    ...setOption,
    ...formatOptions,
  },
  async run(args) {
    const inputs = (args._.length > 0 ? args._ : ['-']).map((path) => new ImportInput(path));
    const importer = args.format ? importerNamed(args.format) : await importerFor(inputs[0]);
    const options = optionsOf(importer, args);
    const where = inputs.map((i) => i.name).join(' ');
    const names = await givenNames(args);
    if (!names) await Promise.all(inputs.map((i) => i.keep()));
    const open: Open = async (pass) => {
      // Names of classes are in the paths: nothing need be decoded to collect them.
      const chosen = pass === 'names' && options.raw ? { ...options, raw: false } : options;
      return setColumns(renameColumns(await importer.read(inputs, chosen), args.columns, where), args.set);
    };
    const flow = await labelled(open, args, names, where);
    await writeTable(args.output, flow.schema, flow.batches);
  },
};

export default operation;

type Open = (pass: 'names' | 'rows') => Promise<Flow>;

/** Class names by column: `label` stands for the column of classes. */
type Names = (column: string, label: boolean) => readonly string[] | undefined;

async function givenNames({ labels, labelsFrom }: Arguments): Promise<Names | undefined> {
  if (labels !== undefined && labelsFrom !== undefined) throw usageError('--labels and --labels-from exclude each other');
  if (labels !== undefined) return (_, label) => (label ? String(labels).split(',') : undefined);
  if (labelsFrom === undefined) return undefined;
  const table = await openTable(labelsFrom);
  const columns = table.columns.filter((c) => table.classNames(c));
  if (columns.length === 0) throw dataError(`${table.name}: no column names its classes (graft data import writes such columns)`);
  return (column) => table.classNames(column) ?? undefined;
}

async function labelled(open: Open, args: Arguments, names: Names | undefined, where: string): Promise<Flow> {
  if (args.label === 'none') return open('rows');
  const { schema } = await open('names');
  const columns = [args.label, 'tags'].filter((c, i, all) => schema.names.includes(c) && all.indexOf(c) === i);
  if (names && columns.length === 0) throw usageError(`${args.labels === undefined ? '--labels-from' : '--labels'}: ${where} has no column '${args.label}'; it has ${schema.names.join(', ')} (--label COLUMN)`);
  let reopen = open;
  for (const column of columns) {
    const before = reopen;
    reopen = (pass) => labelColumn(before, pass, { column, names: names?.(column, column === columns[0]), first: args.firstLabel }, where);
  }
  return reopen('rows');
}

/** The format's options with its defaults. @throws GraftError (usage) for an option of another format */
function optionsOf(importer: Importer, args: Arguments): OptionValues {
  for (const name of Object.keys(formatOptions)) {
    if (args[name] !== undefined && !(name in importer.options)) throw usageError(`--${kebab(name)} is no option of the format ${importer.name} but of ${ownersOf(name)}`);
  }
  return Object.fromEntries(Object.entries(importer.options).map(([name, spec]) => [name, args[name] ?? spec.default ?? undefined]));
}
