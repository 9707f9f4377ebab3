import { planBackend, type Plan, type PlannedDevice, type Precision } from '@graft/kernels';
import type { ActiveGraft } from '../adapters/active.js';
import { isTrained } from '../adapters/active.js';
import type { Arguments } from '../commands/command.js';
import { writeOutput } from '../formats/output.js';
import type { Graft } from '../formats/graft.js';
import type { Objective } from '../objectives/objective.js';
import { openRuntime, type Runtime } from '../runtime.js';
import { epochBatches, stepPosition } from './batches.js';
import { setLoop } from './run.js';
import { offload } from './train.js';
import type { Prepared } from './validation.js';

/** What training would take in one way, in bytes. */
export interface MemoryPlan {
  device: PlannedDevice;
  precision: Precision;
  gradientCheckpointing: boolean;
  /** Of the largest batch: its rows, and the tokens of its longest text (1: images). */
  rows: number;
  length: number;
  /** Weights that are not trained. On the CPU they stay in their files, mapped, and are not part of the peak. */
  frozen: number;
  /** Copies of them that matrix products keep (CPU). */
  packed: number;
  /** Tensors of the grafts: in training, and others. */
  trained: number;
  untrained: number;
  gradients: number;
  optimiser: number;
  /** Activations and all else that a step makes on its way, at their most. */
  activations: number;
  /** Everything together at its most. */
  peak: number;
}

/** What a dry run needs of the run it stands for. */
interface Dry { args: Arguments; grafts: readonly Graft[]; arrange(runtime: Runtime): Promise<{ objective: Objective; examples: Prepared }> }

/**
 * What training takes, found by running the step of the largest batch on backends that only count: it holds for every model and method.
 * Each device without and with gradient checkpointing; a GPU where the addon is.
 */
async function planMemory({ args, grafts, arrange }: Dry, devices: readonly PlannedDevice[] = ['cpu', 'cuda']): Promise<MemoryPlan[]> {
  const plans: MemoryPlan[] = [];
  let prepared: Awaited<ReturnType<Dry['arrange']>> | undefined;
  for (const device of devices) {
    const plan = await planBackend(device, { precision: args.precision });
    if (!plan) continue;
    for (const gradientCheckpointing of [true, false]) {
      const runtime = await openRuntime({ model: args.model, grafts, trainable: true });
      for (const graft of runtime.grafts.slice(0, -1)) for (const v of graft.trained.values()) v.trainable = false;
      if (args.offload && device === 'cuda') await offload(runtime);
      prepared ??= await arrange(runtime);
      const { objective, examples: { examples, p } } = prepared, data: Prepared = { examples, p: { ...p, runtime } };
      plans.push(measure(plan, { ...args, gradientCheckpointing }, objective, data, runtime, { device, precision: args.precision ?? 'f32', gradientCheckpointing }));
      runtime.dispose();
    }
  }
  return plans.sort((a, b) => devices.indexOf(a.device) - devices.indexOf(b.device) || Number(a.gradientCheckpointing) - Number(b.gradientCheckpointing));
}

function measure(plan: Plan, args: Arguments, objective: Objective, data: Prepared, runtime: Runtime, of: Pick<MemoryPlan, 'device' | 'precision' | 'gradientCheckpointing'>): MemoryPlan {
  const graft = runtime.grafts.at(-1)!, { loop, optimiser, perEpoch, batches } = setLoop(args, graft, objective, data, () => undefined);
  const { step, rows, length } = largest(data.examples.map((e) => e.length), batches, perEpoch);
  loop.step(step); // makes the optimiser's moments and the copies of weights
  plan.restart();
  loop.step(step);
  const { peak, packed, read } = plan.memory();
  const optimiserBytes = [...optimiser.save().moments.values()].reduce((n, t) => n + 4 * t.size, 0), { trained, untrained } = sizes(runtime.grafts);
  const gradients = trained;
  optimiser.dispose();
  const whole = of.device === 'cpu' ? peak + packed : peak;
  return {
    ...of, rows, length, frozen: read, packed: of.device === 'cpu' ? packed : 0, trained, untrained, gradients, optimiser: optimiserBytes,
    activations: Math.max(0, whole - packed - trained - untrained - gradients - optimiserBytes), peak: whole,
  };
}

/** Bytes of the grafts' tensors. */
function sizes(grafts: readonly ActiveGraft[]): { trained: number; untrained: number } {
  const all = grafts.flatMap((g) => [...g.tensors.values()]), bytes = (some: typeof all): number => some.reduce((n, t) => n + 4 * t.size, 0);
  return { trained: bytes(all.filter(isTrained)), untrained: bytes(all.filter((t) => !isTrained(t))) };
}

/** Epochs whose batches are looked at. */
const EPOCHS = 20;

/** The optimiser step with the batch that is largest when padded. */
function largest(lengths: readonly number[], o: Parameters<typeof epochBatches>[2] & { accumulate: number; epochs: number }, perEpoch: number): { step: number; rows: number; length: number } {
  let found = { step: 0, rows: 0, length: 0 };
  for (let epoch = 0; epoch < Math.max(1, Math.min(EPOCHS, Math.ceil(o.epochs))); epoch++) {
    const batches = epochBatches(lengths, epoch, o), ofStep = (i: number): number => epoch * perEpoch + Math.floor(i / o.accumulate);
    batches.forEach((rows, i) => {
      const length = Math.max(...rows.map((r) => lengths[r]));
      if (rows.length * length > found.rows * found.length && stepPosition(ofStep(i), batches.length, o.accumulate).epoch === epoch) found = { step: ofStep(i), rows: rows.length, length };
    });
  }
  return found;
}

const ROWS: [keyof MemoryPlan, string][] = [
  ['frozen', 'frozen weights'], ['packed', 'packed copies of them'], ['trained', 'trained tensors'], ['untrained', 'other tensors of grafts'],
  ['gradients', 'gradients'], ['optimiser', 'optimiser'], ['activations', 'activations'], ['peak', 'peak'],
];

/** Prints what a run would take; nothing is trained or written but this. */
export async function dryRun(dry: Dry): Promise<void> {
  const plans = await planMemory(dry);
  await writeOutput(undefined, (out) => out.write(dry.args.json ? plans.map((p) => `${JSON.stringify(p)}\n`).join('') : asText(plans)), { text: true });
}

function asText(plans: readonly MemoryPlan[]): string {
  const [{ rows, length, precision }] = plans, mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
  const columns = plans.map((p) => {
    const heads = [`${p.device} ${precision}`, p.gradientCheckpointing ? 'checkpointing' : ''];
    return [...heads, ...ROWS.map(([key]) => `${mib(Number(p[key]))}${key === 'frozen' && p.device === 'cpu' ? '*' : ''}`)];
  });
  const names = ['MiB', '', ...ROWS.map(([, name]) => name)], width = Math.max(...names.map((n) => n.length));
  const lines = names.map((name, i) => [name.padEnd(width), ...columns.map((c) => c[i].padStart(Math.max(...c.map((v) => v.length))))].join('  ').trimEnd());
  return `largest batch: ${rows} rows${length > 1 ? ` of up to ${length} tokens` : ''}\n${lines.join('\n')}\n* mapped from their files, which the system can take back: not part of the peak\n`;
}
