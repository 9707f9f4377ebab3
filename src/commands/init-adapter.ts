import { dataError, usageError } from '../errors.js';
import type { Table } from '../formats/table.js';
import type { Head, Model } from '../models/model.js';
import type { Arguments, Command } from './command.js';
import { common } from './common.js';

const command: Command = {
  name: 'init-adapter',
  summary: 'make a new graft for a model',
  description: [
    'Writes a graft in the state training starts from. Most methods leave the model as it is until they are trained.',
    'With --task the graft brings a new head; its classes come from --labels, or from the data named by --labels-from: the class names of its label column (tags for --task tag, mask for --task segment), the distinct texts in it, or the numbers from 0 to its largest.',
  ],
  options: {
    ...common('model', 'output', 'deps', 'seed'),
    columns: { type: 'string', metavar: 'NEW=OLD,...', describe: 'rename columns while reading --labels-from' },
    method: { type: 'string', metavar: 'NAME', describe: 'how the model is changed', default: 'lora' },
    task: { type: 'string', describe: 'what the new head does', choices: ['classify', 'tag', 'segment', 'mlm', 'clm', 'none'], default: 'none' },
    labels: { type: 'string', metavar: 'A,B,...', describe: 'class or tag names, in index order' },
    checkIdentity: { type: 'boolean', describe: 'fail unless the new graft leaves what the model computes as it is', default: false },
    labelsFrom: { type: 'string', metavar: 'FILE', describe: 'take the class or tag names from this data' },
  },
  choices: [{
    option: 'method',
    names: async () => (await import('../adapters/registry.js')).methodNames(),
    load: async (name) => (await import('../adapters/registry.js')).loadMethod(name),
  }],
  examples: [
    { does: 'LoRA of rank 8 with a new classifier', command: 'graft init-adapter -m minilm/ --method lora --rank 8 --task classify --labels-from train.arrow > start.safetensors' },
    { does: 'parallel adapters, after checking that they start as no change', command: 'graft init-adapter -m minilm/ --method bottleneck --preset parallel --check-identity -o parallel.safetensors' },
  ],
  binary: () => true,
  async run(args) {
    if (!args.model) throw usageError('--model is missing: the checkpoint the graft is for');
    const [{ createGraft }, { baseOf }, { loadMethod }, { openCheckpoint }, { loadModel }, { writeGraft }, { writeOutput }] = await Promise.all([
      import('../adapters/instantiate.js'), import('../adapters/base.js'), import('../adapters/registry.js'), import('../formats/checkpoint.js'),
      import('../models/registry.js'), import('../formats/graft.js'), import('../formats/output.js')]);
    const checkpoint = await openCheckpoint(args.model);
    const model = await loadModel(checkpoint);
    const method = await loadMethod(args.method);
    const config = Object.fromEntries(Object.keys(method.options).map((name) => [name, args[name]]));
    const head = await newHead(args);
    if (args.method === 'linear' && !head && !model.head) throw usageError('--task is missing: the method linear trains the head alone');
    const tokenize = config.initText ? await tokenizerOf(checkpoint.path, model) : undefined;
    const graft = createGraft({ method, config, model, base: baseOf(checkpoint), fingerprint: checkpoint.fingerprint(), head, seed: args.seed, history: [args.commandLine], tokenize });
    if (args.checkIdentity) await (await import('../adapters/identity.js')).checkIdentity(graft, model, checkpoint);
    await writeOutput(args.output, (out) => writeGraft(out, graft));
    checkpoint.close();
  },
};

export default command;

async function tokenizerOf(path: string, model: Model): Promise<(text: string) => number[]> {
  const { Tokenizer } = await import('../data/tokenizer.js');
  const tokenizer = new Tokenizer(path, model.maxLength ?? Infinity);
  return (text) => tokenizer.plain(text);
}

async function newHead(args: Arguments): Promise<Head | null> {
  if (args.task === 'none') return null;
  if (args.task === 'mlm' || args.task === 'clm') return { task: args.task };
  const labels = args.labels ? String(args.labels).split(',') : args.labelsFrom ? await labelsOf(args.labelsFrom, args.task, args.columns) : null;
  if (!labels) throw usageError(`--task ${args.task} needs --labels or --labels-from`);
  if (new Set(labels).size !== labels.length) throw usageError(`--labels ${labels.join(',')}: a name stands twice`);
  return { task: args.task, labels };
}

/** Class names of the data's label column (tags for --task tag), or the values in it, sorted. */
async function labelsOf(path: string, task: string, columns: string | undefined): Promise<string[]> {
  const { openTable } = await import('../formats/table.js');
  const table = await openTable(path, { columns });
  if (task === 'segment') return maskClasses(table);
  const column = task === 'tag' ? 'tags' : 'label';
  table.requireColumns([column]);
  const names = table.classNames(column);
  if (names) return names;
  const seen = new Set<unknown>();
  for await (const rows of table.rows(1024)) for (const row of rows) for (const value of [row[column]].flat()) seen.add(value);
  const values = [...seen].filter((v) => v !== null && v !== undefined);
  if (values.length === 0) throw dataError(`${path}: column ${column} holds no values to take class names from`);
  if (!values.every((v) => typeof v === 'number')) return values.map(String).sort();
  // Numbers are class indices: those that do not occur count too.
  const classes = values.reduce((most, v) => Math.max(most, v), 0) + 1;
  const wrong = values.find((v) => !Number.isInteger(v) || v < 0 || v >= MAX_CLASSES);
  if (wrong !== undefined) throw dataError(`${path}: ${column} ${wrong} is no class index (0 to ${MAX_CLASSES - 1}); name the classes with --labels`);
  return Array.from({ length: classes }, (_, i) => String(i));
}

/** What the column `mask` names in its metadata, or the numbers up to the largest in it. */
async function maskClasses(table: Table): Promise<string[]> {
  const [{ maskNames, fittedMask }, { rawShape }, { UNLABELLED }] = await Promise.all([import('../data/mask.js'), import('../data/image.js'), import('../metrics/segmentation.js')]);
  table.requireColumns(['mask']);
  const { metadata } = table.schema.fields.find((f) => f.name === 'mask')!, names = maskNames(metadata, table.name);
  if (names) return names;
  let most = -1, n = 0;
  for await (const rows of table.rows(64)) for (const row of rows) {
    const { data } = await fittedMask(row.mask, rawShape(metadata), null, `${table.name}: row ${++n}: mask`);
    for (const c of data) if (c !== UNLABELLED && c > most) most = c;
  }
  if (most < 0) throw dataError(`${table.name}: column mask holds no classes`);
  return Array.from({ length: most + 1 }, (_, c) => String(c));
}

/** Beyond this a number is taken for a mistake (an identifier, a score). */
const MAX_CLASSES = 100_000;
