import { dataError, GraftError } from '../errors.js';
import type { Checkpoint } from './checkpoint.js';
import { bytesOf, decode } from './dtype.js';
import type { Graft, StoredTensor } from './graft.js';
import type { Output } from './output.js';
import { writeSafetensors } from './safetensors.js';

/**
 * The layout of kohya's scripts and of SPM's own: a pair `lora_unet_PATH.lora_down.weight`, `.lora_up.weight` and a number `.alpha` a module, dots
 * of the path as underscores; in the metadata `prompts` (what is erased, commas between), `rank` and `alpha`.
 */
const PREFIX = 'lora_unet_';
const PART = /^(lora_unet_[^.]+)\.(lora_down\.weight|lora_up\.weight|alpha)$/;

export const isKohya = (names: Iterable<string>): boolean => [...names].some((n) => n.startsWith(PREFIX));

/** A file in this layout as an spm graft whose modules are yet to be named as in a model (`kohyaNamed`). @throws GraftError (65) */
export function readKohya(tensors: ReadonlyMap<string, StoredTensor>, metadata: Record<string, string>, source: string): Graft {
  const other = [...tensors.keys()].find((n) => !PART.test(n));
  if (other !== undefined) throw dataError(`${source}: tensor '${other}' is none of a UNet's in the layout lora_unet_…: lora_down.weight, lora_up.weight, alpha`);
  const pairs = new Map([...tensors].filter(([n]) => !n.endsWith('.alpha'))), [first] = [...pairs].find(([n]) => n.endsWith('lora_down.weight')) ?? [];
  if (first === undefined) throw dataError(`${source}: has no lora_down.weight`);
  const rank = pairs.get(first)!.shape[0], alphas = [...tensors].filter(([n]) => n.endsWith('.alpha')).map(([, t]) => decode(t.data, t.dtype)![0]);
  if (alphas.some((a) => a !== alphas[0]) || [...pairs].some(([n, { shape }]) => shape[n.endsWith('lora_down.weight') ? 0 : 1] !== rank)) throw dataError(`${source}: its modules differ in rank or alpha; an spm graft has one of each`);
  const concept = (metadata.prompts ?? '').split(',').map((p) => p.trim()).filter((p) => p !== '');
  return { method: 'spm', config: { rank, alpha: alphas[0] ?? rank, ...(concept.length > 0 && { concept }) }, base: { type: '', headers: '' }, head: null, history: [], tensors: pairs };
}

/** The graft with its modules named as in a checkpoint. @throws GraftError (65) for one that is not there */
export function kohyaNamed(graft: Graft, checkpoint: Pick<Checkpoint, 'names' | 'path'>): Graft {
  const modules = new Map(checkpoint.names().filter((n) => n.endsWith('.weight')).map((n) => n.slice(0, -'.weight'.length)).map((path) => [PREFIX + path.replaceAll('.', '_'), path]));
  const tensors = new Map([...graft.tensors].map(([name, t]): [string, StoredTensor] => {
    const [, module, part] = PART.exec(name)!, path = modules.get(module);
    if (path === undefined) throw dataError(`the graft does not fit ${checkpoint.path}: it has no module for '${module}'`);
    return [`${path}.${part}`, t];
  }));
  return { ...graft, tensors, config: { ...graft.config, targetModules: [...new Set([...tensors.keys()].map((n) => n.replace(/\.lora_(down|up)\.weight$/, '')))].sort() } };
}

/** Writes an spm graft in this layout. @throws GraftError (1) for a graft of another method */
export async function writeKohya(output: Output, { method, config, tensors }: Graft): Promise<void> {
  if (method !== 'spm') throw new GraftError(`the layout lora_unet_… is for spm grafts; this one is ${method}`);
  const { rank = 1, alpha = 1, concept = [] } = config as { rank?: number; alpha?: number; concept?: string[] };
  const named = [...tensors].map(([name, { dtype, shape, data }]) => {
    const [, path, part] = /^(.*)\.(lora_(?:down|up)\.weight)$/.exec(name)!;
    return { module: PREFIX + path.replaceAll('.', '_'), part, dtype, shape, data: () => data };
  });
  const alphas = [...new Set(named.map((t) => t.module))].map((module) => ({ name: `${module}.alpha`, dtype: 'F32' as const, shape: [], data: () => bytesOf(Float32Array.of(alpha)) }));
  await writeSafetensors(output, [...named.map(({ module, part, ...t }) => ({ name: `${module}.${part}`, ...t })), ...alphas], { prompts: concept.join(','), rank: String(rank), alpha: String(alpha) });
}
