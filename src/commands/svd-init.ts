import { usageError } from '../errors.js';
import type { Arguments, Command } from './command.js';
import { common, computing } from './common.js';

const command: Command = {
  name: 'svd-init',
  summary: 'start a graft from the weights or the data',
  description: [
    'Reads a new graft from --graft or standard input, replaces what its tensors start from by a decomposition of the weights (pissa, olora), of what the modules read when the model sees the data (eva) or of both (corda), and writes it. truncate makes a change that leaves out the least of each weight.',
  ],
  options: {
    ...common('model', 'graft', 'data', 'columns', 'output', 'deps'),
    method: { type: 'string', metavar: 'NAME', describe: 'how the graft starts', required: true },
    ...common('batchSize'),
    maxLength: { type: 'number', metavar: 'N', describe: 'longest text in tokens; default: what the tokeniser says', min: 1 },
    ...computing(),
  },
  choices: [{
    option: 'method',
    names: async () => (await import('../init/registry.js')).initialiserNames(),
    load: async (name) => (await import('../init/registry.js')).loadInitialiser(name),
  }],
  examples: [
    { does: 'a LoRA that starts from the data it will be trained on', command: 'graft init-adapter -m minilm/ --task classify --labels-from train.arrow | graft svd-init -m minilm/ --method eva -d train.arrow | graft train -m minilm/ -d train.arrow --log eva.jsonl > eva.safetensors' },
    { does: 'a LoRA that leaves alone what the model knows of its old data', command: 'graft init-adapter -m minilm/ --task classify --labels-from train.arrow | graft svd-init -m minilm/ --method corda --mode kpm -d old.arrow > kept.safetensors' },
    { does: 'a LoRA that starts from the weights', command: 'graft init-adapter -m minilm/ | graft svd-init -m minilm/ --method pissa > pissa.safetensors' },
  ],
  binary: () => true,
  async run(args) {
    if (!args.model) throw usageError('--model is missing: the checkpoint the graft is for');
    if (args.graft.length > 1) throw usageError('one graft at a time: --graft stands more than once');
    const [{ loadInitialiser }, { readGraft, writeGraft }, { writeOutput }, { startCompute }] = await Promise.all([
      import('../init/registry.js'), import('../formats/graft.js'), import('../formats/output.js'), import('../compute.js')]);
    const initialiser = await loadInitialiser(args.method);
    const config = Object.fromEntries(Object.keys(initialiser.options).map((name) => [name, args[name]]));
    const needsData = typeof initialiser.needsData === 'function' ? initialiser.needsData(config) : initialiser.needsData;
    if (needsData && !args.data) throw usageError(`--data is missing: ${args.method} starts from data`);
    const from: string = args.graft[0] ?? '-';
    if (from === '-' && args.data === '-') throw usageError('graft and data cannot both come from standard input: name one of them');
    await startCompute(args);
    const given = await readGraft(from);
    const { start, close } = await prepare(args, given, needsData);
    const graft = await initialiser.run(start, config);
    await writeOutput(args.output, (out) => writeGraft(out, { ...graft, history: [...graft.history, args.commandLine] }));
    close();
  },
};

export default command;

async function prepare(args: Arguments, given: import('../formats/graft.js').Graft, needsData: boolean): Promise<{ start: import('../init/initialiser.js').Start; close(): void }> {
  const { openRuntime } = await import('../runtime.js');
  const { alignNames } = await import('../formats/naming.js');
  const runtime = await openRuntime({ model: args.model, grafts: [given] });
  const { checkpoint, model } = runtime;
  const graft = alignNames(given, checkpoint);
  const close = (): void => runtime.dispose();
  if (!needsData) return { start: { graft, model, checkpoint, seed: args.seed }, close };
  const [{ openTable }, { dataBatches }, { counted }] = await Promise.all([import('../formats/table.js'), import('../init/collect.js'), import('../progress.js')]);
  const table = await openTable(args.data, { columns: args.columns });
  const batches = (): ReturnType<typeof dataBatches> => counted(dataBatches(runtime, table, { batchSize: args.batchSize, maxLength: args.maxLength, seed: args.seed }), { label: 'svd-init', unit: 'batch' }, () => 1);
  return { start: { graft, model, checkpoint, seed: args.seed, data: { runtime, batches } }, close };
}
