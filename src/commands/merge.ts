import { usageError } from '../errors.js';
import type { Graft } from '../formats/graft.js';
import type { Arguments, Command } from './command.js';
import { common } from './common.js';

const command: Command = {
  name: 'merge',
  summary: 'fold grafts into a model, or merge grafts or checkpoints',
  description: [
    'With --model and --graft the grafts are folded into the weights, in order: the checkpoint that comes out computes what the model with its grafts computes. A graft that is no change of weights is refused.',
    'With --graft alone, grafts become one graft (--task and --average: a routed one becomes LoRA; --new-task: it is made ready for another task; --permeability: one whose strength depends on the prompt has this one); LoRA changes are added exactly, and their ranks add; --prune gives a dsee graft a mask of the weights of --model. With operands, checkpoints are merged; --model is the base they were trained from. With --model, --graft and --method each graft is folded into the model and the models are merged.',
    'With --config a mergekit YAML configuration is merged as mergekit does: linear, slerp, task_arithmetic, ties, dare_linear, dare_ties and passthrough, of models or of slices of layers, with weights and densities that differ by model, by layer (a list) and by name (filter and value). Paths in it are of checkpoints, with +ADAPTER for one to be folded in first. What graft does not do is refused by name.',
    'Weights are read and written a few tensors at a time. A checkpoint keeps the shards and the float types of the model, or of the first operand.',
  ],
  operands: { usage: '[DIR]...', describe: 'checkpoints to merge' },
  options: {
    ...common('model', 'graft', 'output', 'deps'),
    config: { type: 'string', metavar: 'FILE', describe: 'a mergekit YAML configuration, which names the models and the method' },
    method: { type: 'string', metavar: 'NAME', describe: 'how to merge models or grafts; default: linear, or exact folding for --model with --graft' },
    weight: { type: 'string', metavar: 'W,...', describe: 'a weight for each operand or graft, in order; default: 1 each' },
    task: { type: 'string', metavar: 'NAME', describe: 'take routed grafts (poly) as the plain LoRA they are for this task' },
    average: { type: 'boolean', default: false, describe: 'or with their skills in equal parts (MHR-mu)' },
    newTask: { type: 'string', metavar: 'NAME', describe: 'or with a new start for this task, which they may not know yet: training them on it is transfer (MHR), with --only poly_router MHR-z' },
    permeability: { type: 'number', metavar: 'G', describe: 'take grafts whose strength depends on the prompt (spm) at this one' },
    prune: { type: 'string', metavar: 'BY', describe: 'make of a dsee graft one that also masks what matters least in the weights of --model: by the size of its update (abs), of its low-rank part (ab), of the weight with either (wabs, wab), of the weight (w), or at random', choices: ['abs', 'ab', 'wab', 'wabs', 'w', 'random'] },
    ratio: { type: 'number', metavar: 'P', describe: '--prune: share of the entries that go', default: 0.2, min: 0, max: 1 },
    heads: { type: 'number', metavar: 'N', describe: '--prune: instead, so many attention heads of every layer', min: 1 },
    ...common('backend', 'threads', 'seed', 'progress', 'quiet'),
  },
  choices: [{
    option: 'method',
    names: async () => (await import('../merging/registry.js')).MERGING.map((m) => m.name),
    load: async (name) => (await import('../merging/registry.js')).mergingMethod(name),
  }],
  examples: [
    { does: 'a model of its own from a base and a graft', command: 'graft merge -m minilm/ -g topic.safetensors -o minilm-topic/' },
    { does: 'the mean of two grafts', command: 'graft merge -g topic.safetensors -g other.safetensors --method linear --weight .5,.5 -o mean.safetensors' },
    { does: 'TIES of two fine-tuned models', command: 'graft merge --method ties --density .2 -m minilm/ a/ b/ -o ties/' },
    { does: 'a task that skills shared by others were not trained on: only how they mix is learned (MHR-z)', command: 'graft merge -g skills.safetensors --new-task later | graft train -m minilm/ -d later.jsonl --only poly_router -o later.safetensors' },
    { does: 'a diffusion model that does not know a shape', command: 'graft init-adapter -m unet/ --method spm --concept disc | graft merge -m unet/ -g - --permeability 1 -o unet-erased/' },
    { does: 'a graft that keeps four fifths of the weights, to be trained on', command: 'graft merge -m minilm/ -g dsee.safetensors --prune abs --ratio .2 -o pruned.safetensors' },
    { does: 'a mergekit configuration', command: 'graft merge --config merge.yml -o merged/' },
    { does: 'in a Makefile: merged again when the graft or any file of the model changes', command: 'graft merge -m minilm -g topic.safetensors -o minilm-topic --deps minilm-topic.d' },
  ],
  binary: () => true,
  async run(args) {
    const { startCompute } = await import('../compute.js');
    await startCompute(args);
    if (args.config) return mergeByRecipe(args);
    if (args._.length > 0 && args.graft.length > 0) throw usageError('checkpoints as operands and --graft do not go together: fold the graft into its model first');
    if (args._.length > 0 && routing(args).length > 0) throw usageError(`${routing(args).join(' and ')} ${routing(args).length > 1 ? 'are' : 'is'} for routed grafts, not for checkpoints`);
    if (args._.length > 0) return mergeOperands(args);
    if (args.graft.length === 0) throw usageError('nothing to merge: give grafts with --graft, or checkpoints as operands');
    const { readGraft } = await import('../formats/graft.js');
    const grafts: Graft[] = [];
    const unroute = await unrouter(args);
    for (const path of args.graft) grafts.push(unroute(await readGraft(path)));
    if (args.prune) return pruneGraft(args, grafts);
    if (args.heads !== undefined) throw usageError('--heads belongs to --prune');
    return args.model ? mergeInto(args, grafts) : mergeAmongst(args, grafts);
  },
};

export default command;

const routing = (args: Arguments): string[] => [...(args.permeability !== undefined ? ['--permeability'] : []), ...(args.task !== undefined ? ['--task'] : []), ...(args.average ? ['--average'] : []), ...(args.newTask !== undefined ? ['--new-task'] : [])];

/** What --task, --average, --new-task and --permeability make of a graft. */
async function unrouter(args: Arguments): Promise<(graft: Graft) => Graft> {
  const asked = routing(args);
  if (asked.length > 1) throw usageError(`${asked.join(' and ')} exclude each other`);
  if (asked.length === 0) return (graft) => graft;
  const { permeable, unrouted, withTask } = await import('../merging/unroute.js');
  if (args.permeability !== undefined) return (graft) => permeable(graft, args.permeability);
  return args.newTask !== undefined ? (graft) => withTask(graft, args.newTask, args.seed) : (graft) => unrouted(graft, args.task ?? null);
}

/** A graft with a mask of the weights it is for. */
async function pruneGraft(args: Arguments, grafts: readonly Graft[]): Promise<void> {
  if (!args.model || grafts.length > 1 || args.method) throw usageError('--prune takes one --graft and its --model, and no --method');
  const [{ openCheckpoint }, { prune }, { writeGraft }, { writeOutput }] = await Promise.all([import('../formats/checkpoint.js'), import('../merging/prune.js'), import('../formats/graft.js'), import('../formats/output.js')]);
  const checkpoint = await openCheckpoint(args.model);
  const pruned = await prune(checkpoint, grafts[0], { by: args.prune, ratio: args.ratio, heads: args.heads, seed: args.seed });
  await writeOutput(args.output, (out) => writeGraft(out, { ...pruned, history: [...pruned.history, args.commandLine] }));
  checkpoint.close();
}

/** Grafts into their base: at once, or each by itself and then the models by a method. */
async function mergeInto(args: Arguments, grafts: readonly Graft[]): Promise<void> {
  const [{ openCheckpoint }, { fold }, { writeModel }, { mergeModels }] = await Promise.all([
    import('../formats/checkpoint.js'), import('../merging/exact.js'), import('../merging/stream.js'), import('../merging/models.js')]);
  const checkpoint = await openCheckpoint(args.model);
  if (!args.method) {
    if (args.weight) throw usageError('--weight needs --method: folded grafts count as they are');
    await writeModel(args.output, await fold(checkpoint, grafts));
  } else {
    const models = [];
    for (const graft of grafts) models.push(await fold(checkpoint, [graft]));
    await writeModel(args.output, mergeModels({ base: await fold(checkpoint, []), models, ...(await chosen(args, models.length)) }));
  }
  checkpoint.close();
}

async function mergeAmongst(args: Arguments, grafts: readonly Graft[]): Promise<void> {
  const [{ loadMethod }, { mergeGrafts }, { writeGraft }, { writeOutput }] = await Promise.all([import('../adapters/registry.js'), import('../merging/grafts.js'), import('../formats/graft.js'), import('../formats/output.js')]);
  const { method, weights, config } = await chosen(args, grafts.length);
  const merged = mergeGrafts(await loadMethod(grafts[0].method), grafts, method, weights, config, [...new Set(grafts.flatMap((g) => g.history)), args.commandLine]);
  await writeOutput(args.output, (out) => writeGraft(out, merged));
}

async function mergeByRecipe(args: Arguments): Promise<void> {
  const { model, graft, method, weight, _: [operand] } = args;
  const other = model ? '--model' : graft.length > 0 ? '--graft' : method ? '--method' : weight ? '--weight' : operand && `the operand '${operand}'`;
  if (other) throw usageError(`--config says what is merged and how: leave out ${other}`);
  const [{ readRecipe }, { mergeRecipe }, { writeModel }] = await Promise.all([import('../merging/recipe.js'), import('../merging/mergekit.js'), import('../merging/stream.js')]);
  const merged = await mergeRecipe(readRecipe(args.config), args.seed);
  await writeModel(args.output, merged);
  merged.close();
}

async function mergeOperands(args: Arguments): Promise<void> {
  const [{ openCheckpoint }, { fold }, { writeModel }, { mergeModels }] = await Promise.all([
    import('../formats/checkpoint.js'), import('../merging/exact.js'), import('../merging/stream.js'), import('../merging/models.js')]);
  const base = args.model ? await fold(await openCheckpoint(args.model), []) : null;
  const models = [];
  for (const path of args._) models.push(await fold(await openCheckpoint(path), []));
  const merged = mergeModels({ base, models, ...(await chosen(args, models.length)) });
  await writeModel(args.output, merged);
  merged.close();
}

/** The method with its configuration, and a weight for each of `count` inputs. */
async function chosen(args: Arguments, count: number) {
  const { mergingMethod } = await import('../merging/registry.js');
  const method = mergingMethod(args.method ?? 'linear');
  const own = Object.entries(method.options).map(([name, spec]) => [name, args[name] ?? spec.default]);
  const weights = args.weight ? String(args.weight).split(',').map(Number) : new Array<number>(count).fill(1);
  if (weights.some((w) => !Number.isFinite(w)) || /(^|,)\s*(,|$)/.test(args.weight ?? '1')) throw usageError(`--weight takes numbers with commas between them, not '${args.weight}'`);
  if (weights.length !== count) throw usageError(`--weight gives ${weights.length} weights for ${count} inputs`);
  return { method, weights, config: { ...Object.fromEntries(own), seed: args.seed } };
}
