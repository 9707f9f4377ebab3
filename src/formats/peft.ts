import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { dataError, GraftError } from '../errors.js';
import type { Head } from '../models/model.js';
import { readJson } from './checkpoint.js';
import { isObject } from './json.js';
import { canonical, type Graft, type StoredTensor } from './graft.js';
import { renamed } from './naming.js';
import { writeOutput } from './output.js';
import { FORMS, type PeftConfig, type PeftForm, type Tensors } from './peft-forms.js';
import { openSafetensors, writeSafetensors } from './safetensors.js';

const PREFIX = 'base_model.model.';
const TASKS: Record<string, Head['task']> = { SEQ_CLS: 'classify', TOKEN_CLS: 'tag', CAUSAL_LM: 'clm' };

/** Options that list modules; PEFT takes a list of names or one regular expression. */
const MODULES = { targetModules: 'target_modules', excludeModules: 'exclude_modules', feedforwardModules: 'feedforward_modules' };

/**
 * Reads an adapter in the PEFT layout (adapter_config.json, adapter_model.safetensors). Tensor names lose PEFT's prefix; heads and
 * biases stored with it become whole tensors.
 * @throws GraftError (65) for adapters of another kind, and for those whose base was rewritten at the start
 */
export async function readPeft(directory: string): Promise<Graft> {
  const path = join(directory, 'adapter_config.json');
  const config = readJson(path);
  const form = FORMS.find((f) => f.type === config.peft_type && (f.when?.(config) ?? true));
  if (!form) throw dataError(`${path}: peft_type ${JSON.stringify(config.peft_type)} is not read; ${[...new Set(FORMS.map((f) => f.type))].join(', ')} are`);
  const file = join(directory, 'adapter_model.safetensors');
  if (!existsSync(file)) throw dataError(`${directory}: has no adapter_model.safetensors`);
  const tensors = readTensors(file, form);
  const modules = modulesOf(form, tensors);
  if (!modules.some((m) => m !== undefined) && ![...tensors.keys()].some((n) => form.tensors.test(n))) throw dataError(`${path}: the adapter holds no tensors of ${form.type}`);
  return { method: form.method, config: optionsOf(form, config, tensors, modules, path), base: { type: '', headers: '' }, head: headOf(config, tensors), history: [], tensors };
}

function readTensors(path: string, form: PeftForm): Map<string, StoredTensor> {
  const file = openSafetensors(path);
  const prefix = form.prefix ?? PREFIX;
  const whole = new Map(Object.entries(form.whole ?? {}).map(([name, before]) => [before + name, name]));
  const tensors = new Map<string, StoredTensor>();
  for (const { name, dtype, shape } of file.entries.values()) {
    if (!whole.has(name) && !name.startsWith(prefix)) throw dataError(`${path}: tensor '${name}' does not begin with ${prefix}`);
    tensors.set(whole.get(name) ?? name.slice(prefix.length).replace('.base_layer.', '.'), { dtype, shape, data: file.read(name) });
  }
  file.close();
  return tensors;
}

/** The modules an adapter changes, by the names of its tensors. */
const modulesOf = ({ tensors: own }: PeftForm, tensors: Tensors): string[] => [...new Set([...tensors.keys()].map((n) => own.exec(n)?.[1]).filter((m) => m !== undefined))];

/** PEFT's keys as the options of a method here. */
function optionsOf(form: PeftForm, c: PeftConfig, tensors: Tensors, modules: readonly string[], path: string): Record<string, unknown> {
  const given = Object.entries(form.keys).filter(([, key]) => c[key] !== null && c[key] !== undefined);
  const plain = given.map(([option, key]) => [option, key.endsWith('_pattern') ? entries(c[key], `${path}: ${key}`) : c[key]]);
  const lists = Object.entries(MODULES).filter(([, key]) => c[key] !== null && c[key] !== undefined).map(([option, key]) => [option, typeof c[key] === 'string' ? [`/${c[key]}/`] : c[key]]);
  const layers = c.layers_to_transform === null || c.layers_to_transform === undefined ? {} : { layersToTransform: [c.layers_to_transform].flat() };
  // The tensors say which modules a regular expression matched, or a default.
  const targets = modules.length > 0 && !Array.isArray(c.target_modules) ? { targetModules: modules } : {};
  return { ...Object.fromEntries([...plain, ...lists]), ...layers, ...targets, ...form.read?.(c, tensors, path) };
}

/** An object as `MODULE=NUMBER` entries, and back. */
function entries(pattern: unknown, where: string): string[] {
  if (!isObject(pattern) || !Object.values(pattern).every((v) => typeof v === 'number')) throw dataError(`${where} is ${JSON.stringify(pattern)}, not numbers by module`);
  return Object.entries(pattern).map(([module, value]) => `${module}=${String(value)}`);
}
const record = (list: unknown): Record<string, number> => Object.fromEntries(((list ?? []) as string[]).map((e) => [e.slice(0, e.lastIndexOf('=')), Number(e.slice(e.lastIndexOf('=') + 1))]));

/** The head saved with the adapter; its output size is the number of classes, which PEFT leaves unnamed. */
function headOf(config: PeftConfig, tensors: Tensors): Head | null {
  const task = Object.hasOwn(TASKS, String(config.task_type)) ? TASKS[String(config.task_type)] : undefined;
  if (!task) return null;
  const output = ['classifier.out_proj.weight', 'classifier.weight', 'score.weight'].map((n) => tensors.get(n)).find((t) => t !== undefined);
  return output && task !== 'clm' ? { task, labels: Array.from({ length: output.shape[0] }, (_, i) => `LABEL_${i}`) } : { task };
}

/** @throws GraftError (1) for a method PEFT lacks */
export function peftForm(method: string): PeftForm {
  const form = FORMS.find((f) => f.method === method);
  if (!form) throw new GraftError(`a ${method} graft has no form in the PEFT layout: ${FORMS.map((f) => f.method).join(', ')} have`);
  return form;
}

/**
 * Writes a graft in the PEFT layout into `directory`. Modules are named as in the class with the graft's head; without a head, as in
 * the model the graft was made for. Whole tensors beside the adapter's own become `modules_to_save`.
 * @throws GraftError (1) for one that PEFT has no form for, or would run differently
 */
export async function writePeft(directory: string, graft: Graft): Promise<void> {
  const form = peftForm(graft.method), type = Object.keys(TASKS).find((t) => TASKS[t] === graft.head?.task) ?? null;
  if (form.tasked && type === null) throw new GraftError(`PEFT runs ${graft.method} adapters for a task alone, and this graft has no head that says one: give the model with --model`);
  const under = underClass(graft);
  const { config, tensors } = under;
  const names = [...tensors.keys()].sort();
  const modules = modulesOf(form, tensors).sort();
  const own = (name: string): boolean => form.tensors.test(name) || name in (form.whole ?? {});
  const saved = new Set(names.filter((n) => !own(n)).map((n) => n.slice(0, n.lastIndexOf('.')).replace(/^(classifier|score)\..*/, '$1')));
  const keys = Object.entries(form.keys).filter(([option, key]) => config[option] !== undefined || key.endsWith('_pattern'));
  const adapter = {
    peft_type: form.type, task_type: type, base_model_name_or_path: null, inference_mode: true, modules_to_save: saved.size > 0 ? [...saved] : null,
    ...form.constants, ...(modules.length > 0 ? { target_modules: modules } : {}),
    ...Object.fromEntries(keys.map(([option, key]) => [key, key.endsWith('_pattern') ? record(config[option]) : config[option]])),
    ...form.write?.(under, modules),
  };
  await writeOutput(join(directory, 'adapter_config.json'), (out) => out.write(`${canonical(adapter, 2)}\n`), { text: true });
  const stored = names.map((name) => ({ ...tensors.get(name)!, name: (form.whole?.[name] ?? form.prefix ?? PREFIX) + name, data: () => tensors.get(name)!.data }));
  await writeOutput(join(directory, 'adapter_model.safetensors'), (out) => writeSafetensors(out, stored, { format: 'pt' }));
}

/** The graft with its modules named as in the class with its head. */
const underClass = (graft: Graft): Graft => (graft.head ? renamed(graft, graft.base.type, true) : graft);
