import { usageError } from '../errors.js';
import type { FloatDtype } from '../formats/dtype.js';
import { isDirectory } from '../formats/input.js';
import type { Row } from '../formats/rows.js';
import type { Arguments, Command } from './command.js';
import { common } from './common.js';

const command: Command = {
  name: 'convert',
  summary: 'change the format of a file',
  description: [
    'peft: a graft of a method PEFT has (lora, dora, adalora, vera, ia3, loha, lokr, poly, prompt, prefix) as a directory in the PEFT layout; a moved start (PiSSA) becomes plain LoRA of twice its rank. kohya: an spm graft as other programs take adapters of diffusion models. graft: an adapter in the PEFT layout, or in that of kohya, as a graft, or a graft in another float type; with --model its modules get the names they have there, and for PEFT a prompt, prefix or poly graft without a head, which is of no use there, gets that of the model. safetensors: a checkpoint in another float type or in shards of another size. arrow: a table as an Arrow stream. jsonl: a table as JSON lines, to be read by people and other programs; bytes come as base64, classes as their numbers or, with --names, by name.',
  ],
  operands: { usage: '[FILE]', describe: 'what to convert; default: standard input' },
  options: {
    ...common('model', 'output', 'deps', 'columns'),
    to: { type: 'string', describe: 'the format that comes out', choices: ['peft', 'kohya', 'graft', 'safetensors', 'arrow', 'jsonl'], required: true },
    dtype: { type: 'string', describe: 'cast floats to this type', choices: ['f32', 'f16', 'bf16'] },
    ...common('progress', 'quiet'),
    names: { type: 'boolean', describe: 'jsonl: the names of classes and tags in place of their numbers', default: false },
    shardSize: { type: 'string', metavar: 'SIZE', describe: 'largest weight file, e.g. 500MB or 5GB' },
  },
  examples: [
    { does: 'a graft for peft', command: 'graft convert --to peft topic.safetensors -o topic-peft/' },
    { does: 'a table, to look at', command: 'graft convert --to jsonl --names test.arrow | head -n 3' },
    { does: 'half the size', command: 'graft convert --to safetensors --dtype bf16 --shard-size 2GB minilm/ -o minilm-bf16/' },
  ],
  binary: (args) => args.to !== 'jsonl',
  async run(args) {
    if (args._.length > 1) throw usageError(`convert takes one file, not ${args._.length}`);
    const input: string = args._[0] ?? '-';
    const dtype = args.dtype ? (String(args.dtype).toUpperCase() as FloatDtype) : undefined;
    if (args.shardSize && args.to !== 'safetensors') throw usageError(`--shard-size is for checkpoints (--to safetensors), not --to ${args.to}`);
    if (dtype && (args.to === 'arrow' || args.to === 'jsonl')) throw usageError('--dtype is for weights, not for tables');
    if (args.names && args.to !== 'jsonl') throw usageError(`--names is for --to jsonl: ${args.to} keeps the names of classes beside their numbers`);
    if (args.to === 'arrow') return toArrow(args, input);
    if (args.to === 'jsonl') return toLines(args, input);
    if (args.to === 'safetensors') return toCheckpoint(args, input, dtype);
    return toAdapter(args, input, dtype);
  },
};

export default command;

async function toAdapter(args: Arguments, input: string, dtype: FloatDtype | undefined): Promise<void> {
  const [{ readGraft, writeGraft }, { asGraftFor, asPlainLora, castGraft, withTask }, { writePeft }, { writeDirectory, writeOutput }, { unfolds }, { startCompute }] = await Promise.all([
    import('../formats/graft.js'), import('../conversion.js'), import('../formats/peft.js'), import('../formats/output.js'), import('../merging/unfold.js'), import('../compute.js')]);
  const read = await readGraft(input);
  const named = args.model ? await asGraftFor(args.model, read) : read;
  const graft = dtype ? castGraft(named, dtype) : named;
  if (args.to === 'kohya') return writeOutput(args.output, async (out) => (await import('../formats/kohya.js')).writeKohya(out, graft));
  if (args.to === 'graft') return writeOutput(args.output, (out) => writeGraft(out, { ...graft, history: [...graft.history, args.commandLine] }));
  if (!args.output || args.output === '-') throw usageError('--output is missing: an adapter in the PEFT layout is a directory');
  if (unfolds(graft)) await startCompute({ ...args, backend: 'auto' });
  const whole = args.model ? await withTask(args.model, graft) : graft;
  await writeDirectory(args.output, (directory) => writePeft(directory, asPlainLora(whole)));
}

async function toCheckpoint(args: Arguments, input: string, dtype: FloatDtype | undefined): Promise<void> {
  if (input === '-') throw usageError('a checkpoint is a directory or a file: name it');
  const [{ asCheckpoint }, { writeModel }] = await Promise.all([import('../conversion.js'), import('../merging/stream.js')]);
  const bytes = args.shardSize ? sizeOf(args.shardSize) : undefined;
  if (bytes && !isDirectory(input)) throw usageError('--shard-size needs a checkpoint directory: one file has no shards');
  const model = await asCheckpoint(input, dtype, bytes);
  await writeModel(args.output, model);
  model.close();
}

async function toArrow(args: Arguments, input: string): Promise<void> {
  const [{ openTable }, { writeTable }] = await Promise.all([import('../formats/table.js'), import('../data/write.js')]);
  const table = await openTable(input, { columns: args.columns });
  await writeTable(args.output, table.schema, table.batches());
}

async function toLines(args: Arguments, input: string): Promise<void> {
  const [{ openTable }, { writeOutput }, { jsonLine }] = await Promise.all([import('../formats/table.js'), import('../formats/output.js'), import('../formats/jsonl.js')]);
  const table = await openTable(input, { columns: args.columns });
  const named = args.names ? (await import('../formats/features.js')).nameClasses(table.schema) : (row: Row) => row;
  await writeOutput(args.output, async (out) => {
    for await (const rows of table.rows(1024)) await out.write(rows.map((r) => jsonLine(named(r))).join(''));
  }, { text: true });
}

/** `500MB`, `5GB`: powers of ten, as transformers counts. */
function sizeOf(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*([KMG]?)B?$/i.exec(text) ?? [];
  if (number === undefined || Number(number) === 0) throw usageError(`--shard-size takes a size such as 500MB, not '${text}'`);
  return Number(number) * { '': 1, K: 1e3, M: 1e6, G: 1e9 }[unit.toUpperCase() as '' | 'K' | 'M' | 'G'];
}
