import { readFileSync } from 'node:fs';
import { parseAllDocuments } from 'yaml';
import { dataError } from '../errors.js';
import { inputFailure } from '../formats/input.js';
import type { FloatDtype } from '../formats/dtype.js';

/** A value that may differ by tensor: a scalar, a gradient over the layers, or a list of these with filters on names. */
export type Setting = number | boolean | number[] | { filter?: string; value: number | boolean | number[] }[];
export type Settings = Record<string, Setting>;

/** A model as recipes name it: a checkpoint, perhaps with an adapter to fold in (`path+adapter`). */
export interface Source { model: string; parameters: Settings; layers: [number, number] | null }

/** Layers of the output: the sources' layers merged one by one. */
export interface Slice { sources: Source[]; parameters: Settings; base: string | null }

/** A mergekit configuration. `whole` where it lists models: then there is one slice, over all layers. */
export interface Recipe {
  path: string;
  method: string;
  slices: Slice[];
  whole: boolean;
  base: string | null;
  parameters: Settings;
  dtype: FloatDtype | null;
  outDtype: FloatDtype | null;
}

const DTYPES: Record<string, FloatDtype> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' };

/** mergekit's methods that graft has, by its own name; what each is given per model, and at all. */
export const METHODS: Record<string, { name: string; perModel: string[]; shared: string[] }> = {
  linear: { name: 'linear', perModel: ['weight'], shared: ['normalize'] },
  passthrough: { name: 'linear', perModel: ['scale'], shared: [] },
  slerp: { name: 'slerp', perModel: [], shared: ['t'] },
  task_arithmetic: { name: 'task-arithmetic', perModel: ['weight', 'density'], shared: ['normalize', 'lambda', 'rescale', 'int8_mask'] },
  ties: { name: 'ties', perModel: ['weight', 'density'], shared: ['normalize', 'lambda', 'rescale', 'int8_mask'] },
  dare_linear: { name: 'dare-linear', perModel: ['weight', 'density'], shared: ['normalize', 'lambda', 'rescale', 'int8_mask'] },
  dare_ties: { name: 'dare-ties', perModel: ['weight', 'density'], shared: ['normalize', 'lambda', 'rescale', 'int8_mask'] },
};

/**
 * Reads a mergekit YAML configuration. What graft cannot do as mergekit does it is refused by name rather than left out.
 * @throws GraftError (66) not there, (65) no such configuration, or more than graft does
 */
export function readRecipe(path: string): Recipe {
  const top = table(path, 'the file', parse(path), ['merge_method', 'models', 'slices', 'base_model', 'parameters', 'dtype', 'out_dtype', 'tokenizer_source', 'tokenizer']);
  const method = String(top.merge_method ?? '');
  if (!Object.hasOwn(METHODS, method)) throw dataError(`${path}: merge_method '${method}' is not supported: one of ${Object.keys(METHODS).join(', ')}`);
  if ((top.models === undefined) === (top.slices === undefined)) throw dataError(`${path}: exactly one of models and slices must be there`);
  const tokenizer = top.tokenizer === undefined ? top.tokenizer_source : table(path, 'tokenizer', top.tokenizer, ['source']).source;
  if (tokenizer !== undefined && tokenizer !== 'base') throw dataError(`${path}: tokenizer source '${String(tokenizer)}' is not supported: models must share one vocabulary (base)`);
  const known = [...METHODS[method].perModel, ...METHODS[method].shared];
  const settings = (where: string, value: unknown): Settings => readSettings(path, where, value, known, method);
  const source = (where: string, value: unknown, layered: boolean): Source => {
    const { model, parameters, layer_range: range } = table(path, where, value, ['model', 'parameters', ...(layered ? ['layer_range'] : [])]);
    return { model: reference(path, `${where}.model`, model), parameters: settings(`${where}.parameters`, parameters), layers: layered ? layerRange(path, where, range) : null };
  };
  const slices = top.models !== undefined
    ? [{ sources: list(path, 'models', top.models).map((m, i) => source(`models[${i}]`, m, false)), parameters: {}, base: null }]
    : list(path, 'slices', top.slices).map((value, s) => {
      const { sources, parameters, base_model: own } = table(path, `slices[${s}]`, value, ['sources', 'parameters', 'base_model']);
      return {
        sources: list(path, `slices[${s}].sources`, sources).map((v, i) => source(`slices[${s}].sources[${i}]`, v, true)),
        parameters: settings(`slices[${s}].parameters`, parameters), base: own === undefined ? null : reference(path, `slices[${s}].base_model`, own),
      };
    });
  return {
    path, method, slices, whole: top.models !== undefined, base: top.base_model === undefined ? null : reference(path, 'base_model', top.base_model),
    parameters: settings('parameters', top.parameters), dtype: dtypeOf(path, 'dtype', top.dtype), outDtype: dtypeOf(path, 'out_dtype', top.out_dtype),
  };
}

function parse(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw inputFailure(path, error);
  }
  const [document, another] = parseAllDocuments(text);
  if (another) throw dataError(`${path}: several documents (a merge in stages) are not supported: one merge a file`);
  const wrong = document && 'errors' in document ? document.errors[0] : undefined;
  if (wrong) throw dataError(`${path}: is no YAML: ${wrong.message.split('\n')[0]}`);
  return document?.toJS();
}

function table(path: string, where: string, value: unknown, keys: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw dataError(`${path}: ${where} is not a table of keys and values`);
  const given = Object.fromEntries(Object.entries(value).filter(([, v]) => v !== null));
  const other = Object.keys(given).find((k) => !keys.includes(k));
  if (other !== undefined) throw dataError(`${path}: '${other}' in ${where} is not supported; ${keys.join(', ')} are`);
  return given;
}

function list(path: string, where: string, value: unknown): unknown[] {
  if (!Array.isArray(value) || value.length === 0) throw dataError(`${path}: ${where} is not a list`);
  return value;
}

function reference(path: string, where: string, value: unknown): string {
  if (typeof value !== 'string' || value === '') throw dataError(`${path}: ${where} is not the path of a model`);
  return value;
}

function layerRange(path: string, where: string, value: unknown): [number, number] {
  const [from, to] = Array.isArray(value) && value.length === 2 ? value : [];
  if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to <= from) throw dataError(`${path}: ${where}.layer_range is not [FIRST, LAST + 1]`);
  return [from, to];
}

function dtypeOf(path: string, where: string, value: unknown): FloatDtype | null {
  if (value === undefined) return null;
  if (typeof value !== 'string' || !Object.hasOwn(DTYPES, value)) throw dataError(`${path}: ${where} '${String(value)}' is not supported: one of ${Object.keys(DTYPES).join(', ')}`);
  return DTYPES[value];
}

function readSettings(path: string, where: string, value: unknown, known: readonly string[], method: string): Settings {
  if (value === undefined) return {};
  return Object.fromEntries(Object.entries(table(path, where, value, known)).map(([name, v]) => [name, setting(path, `${where}.${name} of ${method}`, v)]));
}

function setting(path: string, where: string, value: unknown): Setting {
  const plain = plainValue(value);
  if (plain !== null) return plain;
  if (Array.isArray(value) && value.length > 0) {
    return value.map((entry) => {
      const { filter, value: inner } = table(path, where, entry, ['filter', 'value']);
      const own = plainValue(inner);
      if (own === null || (filter !== undefined && typeof filter !== 'string')) throw dataError(`${path}: ${where} is not a number, a list of numbers, or a list of filter and value`);
      return filter === undefined ? { value: own } : { filter, value: own };
    });
  }
  throw dataError(`${path}: ${where} is not a number, a list of numbers, or a list of filter and value`);
}

/** YAML 1.1's `1e-3` is a text: it counts as the number it spells. */
function plainValue(value: unknown): number | boolean | number[] | null {
  if (typeof value === 'boolean') return value;
  const numbers = [value].flat().map((v) => (typeof v === 'string' && v.trim() !== '' ? Number(v) : v));
  if (numbers.length === 0 || !numbers.every((v) => typeof v === 'number' && Number.isFinite(v))) return null;
  return Array.isArray(value) ? numbers as number[] : numbers[0] as number;
}

/**
 * What a parameter is for one tensor: the first of the levels, from the most to the least particular, that says it.
 * @param position of the layer within its slice, 0 to 1, for gradients; 0 outside the layers
 */
export function resolve(name: string, tensor: string, position: number, levels: readonly Settings[]): number | boolean | undefined {
  for (const level of levels) {
    const found = level[name] === undefined ? undefined : valueAt(level[name], tensor, position);
    if (found !== undefined) return found;
  }
  return undefined;
}

function valueAt(value: Setting, tensor: string, position: number): number | boolean | undefined {
  if (!Array.isArray(value)) return value;
  if (typeof value[0] === 'number') return gradient(value as number[], position);
  const match = (value as { filter?: string; value: number | boolean | number[] }[]).find(({ filter }) => filter === undefined || filter === '*' || tensor.includes(filter));
  return match && valueAt(match.value, tensor, position);
}

/** Linear between neighbours, the list stretched over the layers of the slice. */
function gradient(values: readonly number[], position: number): number {
  const at = position * (values.length - 1), i = Math.floor(at);
  return values[i] + (at - i) * (values[Math.min(values.length - 1, i + 1)] - values[i]);
}
