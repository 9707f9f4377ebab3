import { Field, Float32, Float64, Int32, List, Schema, Struct, Utf8, vectorFromArray, type DataType, type RecordBatch } from 'apache-arrow';
import { Rng } from '@graft/kernels';
import type { Arguments } from '../commands/command.js';
import { startCompute } from '../compute.js';
import { takeRows } from '../data/gather.js';
import { inParts } from '../data/parts.js';
import type { Tokenizer } from '../data/tokenizer.js';
import { dataError, usageError } from '../errors.js';
import { ArrowWriter } from '../formats/arrow.js';
import { readGraft } from '../formats/graft.js';
import { writeOutput } from '../formats/output.js';
import { assemble, rowsOf, type Row } from '../formats/rows.js';
import { openTable } from '../formats/table.js';
import { TEMPLATES } from '../objectives/templates.js';
import { counted } from '../progress.js';
import { openRuntime, type Runtime } from '../runtime.js';
import { EventLog } from '../training/log.js';
import { endTokens, stopping } from './ending.js';
import { gateNames, gatesOf, type Gated } from './gates.js';
import { generate, type Task } from './generate.js';
import type { DecodingMethod, Finished } from './method.js';
import { processors, type ProcessorConfig } from './processors.js';
import { loadDecoding } from './registry.js';

/** Columns that `generate` adds. */
type Added = Record<string, () => DataType>;
const ADDED: Added = { response: () => new Utf8(), sample: () => new Int32(), score: () => new Float64(), tokens: () => new Int32(), finish: () => new Utf8() };

/** `graft generate`: prompts in, their rows with responses out, a batch at a time. */
export async function runGenerate(args: Arguments): Promise<void> {
  if (!args.model) throw usageError('--model is missing: the checkpoint to generate with');
  await startCompute(args);
  const runtime = await openRuntime({ model: args.model, grafts: await Promise.all((args.graft as string[]).map(readGraft)) });
  const gates = args.report === 'gates' ? gateNames(runtime) : null;
  if (runtime.head?.task === 'diffusion') return (await import('../diffusion/run.js')).generateImages(args, runtime);
  if (runtime.head?.task !== 'clm') throw usageError(`${args.model}: this is no causal language model and no diffusion model; generate needs one`);
  const method = await loadDecoding(args.method);
  const table = await openTable(args.data ?? '-', { columns: args.columns });
  const template = TEMPLATES[args.template];
  table.requireColumns(template.columns.filter((c) => c !== 'response'));
  const added = { ...ADDED, ...(gates && { gates: () => gatesType(gates) }) };
  const schema = new Schema([...kept(table.schema, added), ...Object.entries(added).map(([name, type]) => new Field(name, type(), false))], table.schema.metadata);
  const log = await EventLog.open(args.log);
  await writeOutput(args.output, async (out) => {
    const writer = new ArrowWriter(out, schema);
    let n = 0;
    for await (const batch of counted(inParts(table, args.batchSize), { label: 'generate', unit: 'prompt' }, (b) => b.numRows)) {
      const rows = rowsOf(batch);
      const tasks = rows.map((row, i) => taskOf(row, `${table.name}: row ${n + i + 1}`, n + i, { args, runtime, method, prompt: template.prompt(row) }));
      const { texts, counts } = generate(runtime, tasks, args.maxNew);
      log.write({ event: 'batch', prompts: rows.length, ...counts, generated: texts.flat().reduce((sum, t) => sum + t.ids.length - t.prompt, 0) });
      await writer.write(withResponses(schema, batch, texts, { added, tokenizer: runtime.tokenizer, stops: args.stop, gates: gates && gatesOf(runtime, tasks, texts) }));
      n += rows.length;
    }
    await writer.close();
  });
  log.close();
  runtime.dispose();
}

/** What `--report gates` adds: a Gated for each token. */
const gatesType = (names: readonly string[]): DataType => {
  const text = (name: string): Field => new Field(name, new Utf8(), false);
  return new List(new Field('item', new Struct([text('token'), text('adapter'), new Field('weights', new Struct(names.map((n) => new Field(n, new Float32(), false))), false)]), false));
};

/** Columns of the input that stay. */
const kept = (schema: Schema, added: Added): Field[] => schema.fields.filter((f) => !Object.hasOwn(added, f.name));

interface Given { args: Arguments; runtime: Runtime; method: DecodingMethod; prompt: string }

/** The search that a row asks for. A prompt that leaves no room loses its beginning. */
function taskOf(row: Row, where: string, index: number, { args, runtime, method, prompt }: Given): Task {
  const { tokenizer } = runtime, longest = Math.min(args.maxLength ?? Infinity, Math.max(1, tokenizer.maxLength - args.maxNew));
  const { ids: all } = tokenizer.encode(prompt, null, Infinity);
  const ids = all.slice(Math.max(0, all.length - longest));
  if (ids.length === 0) throw dataError(`${where}: the prompt is empty, and the tokeniser puts nothing before it; give it a first word`);
  const endIds = endTokens(args.model, tokenizer);
  const maxNew = Math.min(args.maxNew, tokenizer.maxLength - ids.length);
  const config = Object.fromEntries(Object.keys(method.options).map((name) => [name, args[name]]));
  const setting = { endIds, maxNew, ...processors(args as unknown as ProcessorConfig, endIds), ended: stopping(endIds, maxNew, args.stop, tokenizer) };
  const search = method.start(ids, setting, config, args.samples, (sample) => new Rng('generate', args.seed, index, sample));
  return { ids, search, ...(typeof row.task === 'string' && { task: row.task }), ...(typeof row.domain === 'string' && { domain: row.domain }) };
}

/** The batch's rows, each as often as it has texts, with what was generated. */
function withResponses(schema: Schema, batch: RecordBatch, texts: readonly Finished[][], { added, tokenizer, stops, gates }: { added: Added; tokenizer: Tokenizer; stops: readonly string[]; gates: Gated[][][] | null }): RecordBatch {
  const rows = takeRows(batch, Int32Array.from(texts.flatMap((t, i) => t.map(() => i))));
  const all = texts.flatMap((t, i) => t.map((text, sample) => ({ response: responseOf(text, tokenizer, stops), sample, score: text.score, tokens: text.ids.length - text.prompt, finish: text.finish, gates: gates?.[i][sample] })));
  const inputs = batch.schema.fields.flatMap((f, i) => (Object.hasOwn(added, f.name) ? [] : [rows.data.children[i]]));
  const columns = Object.entries(added).map(([name, type]) => vectorFromArray(all.map((t) => t[name as keyof typeof t]), type()).data[0]);
  return assemble(schema, [...inputs, ...columns], all.length);
}

/** What stands behind the prompt, cut at a stop string. */
function responseOf({ ids, prompt }: Finished, tokenizer: Tokenizer, stops: readonly string[]): string {
  const text = tokenizer.surface(ids).slice(tokenizer.surface(ids.slice(0, prompt)).length);
  const cuts = stops.map((s) => text.indexOf(s)).filter((at) => at >= 0);
  return cuts.length > 0 ? text.slice(0, Math.min(...cuts)) : text;
}
