import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { dataError } from '../errors.js';
import type { Head } from '../models/model.js';
import { readJson } from './checkpoint.js';
import { canonical, type Graft, type StoredTensor } from './graft.js';
import { renamed } from './naming.js';
import { writeOutput } from './output.js';
import { openSafetensors, writeSafetensors } from './safetensors.js';

const PREFIX = 'base_model.model.';
export const TASKS: Record<string, Head['task']> = { SEQ_CLS: 'classify', TOKEN_CLS: 'tag', CAUSAL_LM: 'clm' };

/**
 * Reads a LoRA, prompt or prefix adapter in the PEFT layout (adapter_config.json, adapter_model.safetensors). Tensor names lose PEFT's prefix;
 * heads and biases stored with it become whole tensors.
 * @throws GraftError (65) for adapters of another kind, and for those whose base was rewritten at the start
 */
export async function readPeft(directory: string): Promise<Graft> {
  const path = join(directory, 'adapter_config.json');
  const config = readJson(path);
  if (config.peft_type === 'PROMPT_TUNING' || config.peft_type === 'PREFIX_TUNING') return (await import('./peft-prompts.js')).readPrompts(directory, config);
  if (config.peft_type !== 'LORA') throw dataError(`${path}: peft_type ${JSON.stringify(config.peft_type)} is not read; LORA, PROMPT_TUNING and PREFIX_TUNING are`);
  if (config.use_dora === true) throw dataError(`${path}: use_dora is not read`);
  const init = config.init_lora_weights ?? true;
  if (typeof init === 'string' && init !== 'gaussian' && init !== 'eva' && init !== 'orthogonal') {
    throw dataError(`${path}: init_lora_weights '${init}' rewrites the base; save the adapter as plain LoRA first (path_initial_model_for_weight_conversion of save_pretrained)`);
  }
  if (!existsSync(join(directory, 'adapter_model.safetensors'))) throw dataError(`${directory}: has no adapter_model.safetensors`);
  const file = openSafetensors(join(directory, 'adapter_model.safetensors'));
  const tensors = new Map<string, StoredTensor>();
  for (const { name, dtype, shape } of file.entries.values()) {
    if (!name.startsWith(PREFIX)) throw dataError(`${file.path}: tensor '${name}' does not begin with ${PREFIX}`);
    tensors.set(name.slice(PREFIX.length).replace('.base_layer.', '.'), { dtype, shape, data: file.read(name) });
  }
  file.close();
  return { method: 'lora', config: loraConfig(config, tensors, path), base: { type: '', headers: '' }, head: headOf(config, tensors), history: [], tensors };
}

/** PEFT's keys as the options of our `lora`. */
function loraConfig(c: Record<string, unknown>, tensors: ReadonlyMap<string, unknown>, path: string): Record<string, unknown> {
  const list = (key: string): unknown[] | undefined => (c[key] === null || c[key] === undefined ? undefined : Array.isArray(c[key]) ? c[key] as unknown[] : [c[key]]);
  const pattern = (key: string): string[] => Object.entries((c[key] ?? {}) as Record<string, number>).map(([module, value]) => `${module}=${value}`);
  const modules = [...new Set([...tensors.keys()].map((n) => /^(.*)\.lora_(embedding_)?[AB](\.weight)?$/.exec(n)?.[1]).filter((m) => m !== undefined))];
  if (modules.length === 0) throw dataError(`${path}: the adapter holds no LoRA tensors`);
  // The tensors say which modules a regular expression matched.
  const targets = typeof c.target_modules === 'string' ? modules : list('target_modules') ?? modules;
  return {
    rank: Number(c.r ?? 8), alpha: Number(c.lora_alpha ?? 8), dropout: Number(c.lora_dropout ?? 0), rslora: c.use_rslora === true, loraBias: c.lora_bias === true,
    init: c.init_lora_weights === 'gaussian' ? 'gaussian' : 'kaiming', rankPattern: pattern('rank_pattern'), alphaPattern: pattern('alpha_pattern'),
    targetModules: targets, excludeModules: typeof c.exclude_modules === 'string' ? [`/${c.exclude_modules}/`] : list('exclude_modules') ?? [], ...(list('layers_to_transform') ? { layersToTransform: list('layers_to_transform') } : {}),
  };
}

/** The head saved with the adapter; its output size is the number of classes, which PEFT leaves unnamed. */
export function headOf(config: Record<string, unknown>, tensors: ReadonlyMap<string, StoredTensor>): Head | null {
  const task = TASKS[String(config.task_type)];
  if (!task) return null;
  const output = ['classifier.out_proj.weight', 'classifier.weight', 'score.weight'].map((n) => tensors.get(n)).find((t) => t !== undefined);
  return output && task !== 'clm' ? { task, labels: Array.from({ length: output.shape[0] }, (_, i) => `LABEL_${i}`) } : { task };
}

/**
 * Writes a plain LoRA, prompt or prefix graft in the PEFT layout into `directory`. Modules are named as in the class with the graft's head; without
 * a head, as in the model the graft was made for. Tensors beside the pairs become `modules_to_save`.
 */
export async function writePeft(directory: string, graft: Graft): Promise<void> {
  if (graft.method !== 'lora') return (await import('./peft-prompts.js')).writePrompts(directory, graft);
  const { head, config, tensors } = underClass(graft);
  const pair = /^(.*)\.lora_(?:embedding_)?[AB](?:\.weight|\.bias)?$/;
  const names = [...tensors.keys()].sort();
  const targets = new Set(names.map((n) => pair.exec(n)?.[1]).filter((m) => m !== undefined));
  const saved = new Set(names.filter((n) => !pair.test(n)).map((n) => n.slice(0, n.lastIndexOf('.')).replace(/^(classifier|score)\..*/, '$1')));
  const adapter = {
    peft_type: 'LORA', task_type: Object.keys(TASKS).find((t) => TASKS[t] === head?.task) ?? null, base_model_name_or_path: null, inference_mode: true, bias: 'none', fan_in_fan_out: false,
    r: config.rank, lora_alpha: config.alpha, lora_dropout: config.dropout ?? 0, use_rslora: config.rslora ?? false, lora_bias: config.loraBias ?? false,
    init_lora_weights: config.init === 'gaussian' ? 'gaussian' : true, target_modules: [...targets], modules_to_save: saved.size > 0 ? [...saved] : null,
    rank_pattern: record(config.rankPattern), alpha_pattern: record(config.alphaPattern),
  };
  await writeOutput(join(directory, 'adapter_config.json'), (out) => out.write(`${canonical(adapter, 2)}\n`), { text: true });
  const stored = names.map((name) => ({ ...tensors.get(name)!, name: PREFIX + name, data: () => tensors.get(name)!.data }));
  await writeOutput(join(directory, 'adapter_model.safetensors'), (out) => writeSafetensors(out, stored, { format: 'pt' }));
}

/** The graft with its modules named as in the class with its head. */
const underClass = (graft: Graft): Graft => (graft.head ? renamed(graft, graft.base.type, true) : graft);

/** `MODULE=NUMBER` entries as an object. */
const record = (entries: unknown): Record<string, number> => Object.fromEntries(((entries ?? []) as string[]).map((e) => [e.slice(0, e.lastIndexOf('=')), Number(e.slice(e.lastIndexOf('=') + 1))]));
