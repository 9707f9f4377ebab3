import { Rng, tf } from '@graft/kernels';
import { defaults } from '../adapters/instantiate.js';
import poly, { fixedPair, ROUTER_BOUND, type PolyConfig } from '../adapters/poly.js';
import { usageError } from '../errors.js';
import { bytesOf, decode } from '../formats/dtype.js';
import { loadTensor, storeTensor, type Graft } from '../formats/graft.js';

const ROUTER = /^(.*)\.poly_router\.module_logits$/;

/**
 * A routed graft as the plain LoRA it is for one task, exactly; without a task its skills in equal parts (MHR-μ).
 * @throws GraftError (usage) for a graft that is not routed, or does not know the task
 */
export function unrouted(graft: Graft, task: string | null): Graft {
  const config = routedConfig(graft, task === null ? '--average' : '--task');
  const modules = [...graft.tensors.keys()].map((name) => ROUTER.exec(name)?.[1]).filter((m) => m !== undefined);
  const tensors = new Map([...graft.tensors].filter(([name]) => !/\.poly_(lora_[AB]|router\.module_logits)$/.test(name)));
  for (const module of modules) {
    const p = Object.fromEntries(['poly_lora_A', 'poly_lora_B', 'poly_router.module_logits'].map((name) => [name, loadTensor(name, graft.tensors.get(`${module}.${name}`)!)]));
    const dim = (name: string, axis: number): number => config.splits * p[name].shape[axis]!;
    const pair = fixedPair({ name: module, dimIn: dim('poly_lora_A', 2), dimOut: dim('poly_lora_B', 3) }, p, config, task);
    for (const which of ['A', 'B'] as const) tensors.set(`${module}.lora_${which}.weight`, storeTensor(pair[which]));
    tf.dispose([p, pair]);
  }
  const { targetModules, excludeModules, layersToTransform, rank, dropout } = config;
  const targets = Object.fromEntries(Object.entries({ targetModules, excludeModules, layersToTransform }).filter(([, v]) => v !== undefined));
  return { ...graft, method: 'lora', config: { rank, alpha: 1, dropout, rslora: false, loraBias: false, init: 'kaiming', ...targets }, tensors };
}

/**
 * A routed graft ready to learn one more task: in every router a row for it, drawn from the seed as those of a new graft are; its skills
 * and the rows of other tasks stay. Trained whole it is MHR's transfer, the router alone MHR-z; a task it knows begins anew.
 * @throws GraftError (usage) for a graft that is not routed
 */
export function withTask(graft: Graft, task: string, seed: number): Graft {
  const config = routedConfig(graft, '--new-task');
  const known = config.tasks.indexOf(task), at = known < 0 ? config.tasks.length : known;
  const tensors = new Map(graft.tensors);
  for (const [name, { data, dtype, shape: [rows, width] }] of graft.tensors) {
    if (!ROUTER.test(name)) continue;
    const logits = new Float32Array(Math.max(rows, at + 1) * width), rng = new Rng(seed, name, task);
    logits.set(decode(data, dtype) ?? []);
    for (let i = 0; i < width; i++) logits[at * width + i] = rng.uniform(-ROUTER_BOUND, ROUTER_BOUND);
    tensors.set(name, { dtype: 'F32', shape: [logits.length / width, width], data: bytesOf(logits) });
  }
  return { ...graft, config: { ...graft.config, tasks: known < 0 ? [...config.tasks, task] : config.tasks }, tensors };
}

/** A graft whose strength depends on the prompt, at a fixed one: a plain change of weights. @throws GraftError (usage) for a graft of another kind */
export function permeable(graft: Graft, permeability: number): Graft {
  if (graft.method !== 'spm') throw usageError(`--permeability is for spm grafts; this one is ${graft.method}`);
  return { ...graft, config: { ...graft.config, permeability } };
}

function routedConfig(graft: Graft, option: string): PolyConfig {
  if (graft.method !== 'poly') throw usageError(`${option} is for poly grafts; this one is ${graft.method}`);
  return { ...defaults(poly.options), ...graft.config } as unknown as PolyConfig;
}
