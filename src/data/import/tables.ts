import { dataError, usageError } from '../../errors.js';
import { isArrowFile, isArrowStream, readArrow } from '../../formats/arrow.js';
import { STDIN } from '../../formats/input.js';
import { parseJson } from '../../formats/json.js';
import { readJsonl } from '../../formats/jsonl.js';
import { isParquet, readParquet, readParquetBytes } from '../../formats/parquet.js';
import type { Imported, Importer } from './importer.js';
import type { ImportInput } from './input.js';

export const jsonl: Importer = {
  name: 'jsonl', summary: 'one JSON object a line', extensions: ['.jsonl', '.ndjson'], options: {},
  recognises: (head) => /^\{.*\}\s*$/m.test(Buffer.from(head).toString('latin1').split('\n')[0]) && head.includes(10),
  read: (inputs) => single('jsonl', inputs, (input) => readJsonl(input.name, input.bytes())),
};

/** An array of objects, or an object of objects whose keys become the column `id`; held in memory while it is read. */
export const json: Importer = {
  name: 'json', summary: 'a JSON array of objects, or an object of objects by id', extensions: ['.json'], options: {},
  recognises: (head) => head[0] === 0x5b || head[0] === 0x7b,
  read: (inputs) => single('json', inputs, (input) => readJsonl(input.name, objects(input))),
};

async function* objects(input: ImportInput): AsyncGenerator<Uint8Array> {
  const bytes = await input.all();
  const value = parseJson(Buffer.from(bytes).toString('utf8'), `${input.name}: (--format jsonl reads an object a line)`);
  if (typeof value !== 'object' || value === null) throw dataError(`${input.name}: is neither an array nor an object`);
  const rows = Array.isArray(value) ? value
    : Object.entries(value).map(([id, row]) => (typeof row === 'object' && row !== null && !Array.isArray(row) ? { id, ...row } : row));
  for (const row of rows) yield Buffer.from(`${JSON.stringify(row)}\n`);
}

/** Arrow and Parquet pass through, so that labels can be named and columns set. */
export const arrow: Importer = {
  name: 'arrow', summary: 'Arrow IPC, stream or file', extensions: ['.arrow', '.feather'], options: {},
  recognises: (head) => isArrowFile(head) || isArrowStream(head),
  read: (inputs) => single('arrow', inputs, (input) => readArrow(input.name, input.bytes())),
};

export const parquet: Importer = {
  name: 'parquet', summary: 'Parquet', extensions: ['.parquet'], options: {},
  recognises: isParquet,
  read: (inputs) => single('parquet', inputs, async (input) => (input.path === STDIN ? readParquetBytes(input.name, await input.all()) : readParquet(input.name, input.path))),
};

async function single(format: string, [input, ...more]: readonly ImportInput[], read: (input: ImportInput) => Promise<Imported>): Promise<Imported> {
  if (more.length > 0) throw usageError(`${more[0].name}: ${format} is read one file at a time; graft data concat joins the results`);
  return read(input);
}
