import { tf } from '@graft/kernels';
import { defaults } from '../adapters/instantiate.js';
import poly, { fixedPair, type PolyConfig } from '../adapters/poly.js';
import { usageError } from '../errors.js';
import { loadTensor, storeTensor, type Graft } from '../formats/graft.js';

const ROUTER = /^(.*)\.poly_router\.module_logits$/;

/**
 * A routed graft as the plain LoRA it is for one task, exactly; without a task its skills in equal parts (MHR-μ).
 * @throws GraftError (usage) for a graft that is not routed, or does not know the task
 */
export function unrouted(graft: Graft, task: string | null): Graft {
  if (graft.method !== 'poly') throw usageError(`${task === null ? '--average' : '--task'} is for poly grafts; this one is ${graft.method}`);
  const config = { ...defaults(poly.options), ...graft.config } as unknown as PolyConfig;
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
