import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { oneLine } from './errors.js';
import { isArrowFile, isArrowStream } from './formats/arrow.js';
import { openCheckpoint } from './formats/checkpoint.js';
import { readGraft, type Graft } from './formats/graft.js';
import { isDirectory, nameOf, readHead, STDIN } from './formats/input.js';
import { isParquet } from './formats/parquet.js';
import { openSafetensors, type Entry } from './formats/safetensors.js';
import { openTable } from './formats/table.js';

/** What is in a file: facts about the whole, and a row for each part. */
export interface Inspection { file: string; kind: 'graft' | 'checkpoint' | 'tensors' | 'table'; facts: Record<string, unknown>; rows: Record<string, unknown>[] }

/** @throws GraftError (66) not there, (65) broken, or of no kind graft knows */
export async function inspect(path: string): Promise<Inspection> {
  if (path === STDIN) return inspectGraft(path, await readGraft(path));
  if (isDirectory(path)) return existsSync(join(path, 'adapter_config.json')) ? inspectGraft(path, await readGraft(path)) : inspectCheckpoint(path);
  const head = await readHead(path, 8);
  if (isParquet(head) || isArrowFile(head) || isArrowStream(head) || head[0] === 0x7b) return inspectTable(path);
  const file = openSafetensors(path);
  if (file.metadata.graft !== undefined) return inspectGraft(path, await readGraft(path));
  const entries = [...file.entries.values()];
  return { file: path, kind: 'tensors', facts: { ...totals(entries), ...file.metadata }, rows: entries.map(row) };
}

function inspectGraft(path: string, graft: Graft): Inspection {
  const { method, config, base, head, history } = graft;
  const modules = new Map<string, { module: string; rank?: number; tensors: number; parameters: number }>();
  for (const [name, { shape }] of [...graft.tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const pair = /^(.*)\.lora_(?:embedding_)?[AB]0?(?:\.weight|\.bias)?$/.exec(name);
    const module = pair?.[1] ?? name.slice(0, Math.max(name.lastIndexOf('.'), 0));
    const at = modules.get(module) ?? { module, tensors: 0, parameters: 0 };
    modules.set(module, at);
    if (/\.lora_(embedding_)?A(\.weight)?$/.test(name)) at.rank = shape[0];
    at.tensors++;
    at.parameters += elements(shape);
  }
  const rows = [...modules.values()];
  const ranks = rows.map((r) => r.rank).filter((r) => r !== undefined);
  const bytes = [...graft.tensors.values()].reduce((n, t) => n + t.data.length, 0);
  return {
    file: nameOf(path), kind: 'graft', rows,
    facts: {
      method, config, base: base.type || 'not said', ...(head ? { task: head.task, labels: head.labels ?? [] } : {}), modules: rows.length,
      ...(ranks.length > 0 ? { ranks: { least: Math.min(...ranks), most: Math.max(...ranks), total: ranks.reduce((a, b) => a + b, 0) } } : {}),
      parameters: rows.reduce((n, r) => n + r.parameters, 0), bytes, history,
    },
  };
}

async function inspectCheckpoint(path: string): Promise<Inspection> {
  const checkpoint = await openCheckpoint(path);
  const shards = checkpoint.shards();
  const { model_type: type, architectures } = checkpoint.config;
  const found: Inspection = {
    file: path, kind: 'checkpoint', facts: { type, ...(architectures ? { architectures } : {}), ...checkpoint.fingerprint().dimensions, files: shards.length, ...totals(shards.flatMap((s) => s.entries)) },
    rows: shards.flatMap(({ file, entries }) => entries.map((e) => ({ ...row(e), ...(shards.length > 1 ? { file } : {}) }))),
  };
  checkpoint.close();
  return found;
}

async function inspectTable(path: string): Promise<Inspection> {
  const table = await openTable(path);
  let count = 0;
  for await (const batch of table.batches()) count += batch.numRows;
  const rows = table.schema.fields.map((f) => {
    const names = table.classNames(f.name);
    return { column: f.name, type: String(f.type), nullable: f.nullable, classes: names ?? [] };
  });
  return { file: path, kind: 'table', facts: { rows: count, columns: rows.length, bytes: statSync(path).size }, rows };
}

const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const row = ({ name, dtype, shape, length }: Entry): Record<string, unknown> => ({ tensor: name, dtype, shape, bytes: length });

function totals(entries: readonly Entry[]): Record<string, unknown> {
  const dtypes = [...new Set(entries.map((e) => e.dtype))].sort();
  return { tensors: entries.length, parameters: entries.reduce((n, e) => n + elements(e.shape), 0), bytes: entries.reduce((n, e) => n + e.length, 0), dtypes };
}

/** Facts one a line, then the rows with their columns aligned; numbers stand to the right. */
export function asText({ file, kind, facts, rows }: Inspection): string {
  const said = Object.entries({ file, kind, ...facts }).map(([key, value]) => [key, shown(value)]).filter(([, text]) => text !== '');
  const wide = Math.max(...said.map(([key]) => key.length));
  const lines = said.map(([key, text]) => `${key.padEnd(wide)}  ${text}`);
  const columns = [...new Set(rows.flatMap((r) => Object.keys(r)))];
  const cells = [columns, ...rows.map((r) => columns.map((c) => oneLine(shown(r[c]))))];
  const widths = columns.map((_, i) => Math.max(...cells.map((r) => r[i].length)));
  const right = columns.map((c) => rows.every((r) => r[c] === undefined || typeof r[c] === 'number'));
  const grid = cells.map((r) => r.map((cell, i) => (right[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('  ').trimEnd());
  return `${[...lines, ...(rows.length > 0 ? ['', ...grid] : [])].join('\n')}\n`;
}

/** A value on one line: lists with commas, objects as key=value. */
function shown(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (Array.isArray(value)) return value.every((v) => typeof v === 'number') ? value.join('×') : value.map((v) => oneLine(String(v))).join(', ');
  if (typeof value === 'object') return Object.entries(value).map(([k, v]) => `${k}=${shown(v)}`).join(' ');
  return typeof value === 'string' ? oneLine(value) : String(value);
}
