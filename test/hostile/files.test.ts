import { Binary, Field, Float32, Int32, Int64, List, Message, Schema, Utf8 } from 'apache-arrow';
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { tf, useBackend } from '@graft/kernels';
import { parseCommandLine } from '../../src/command-line.js';
import type { Arguments, Command } from '../../src/commands/command.js';
import dataCommand from '../../src/commands/data.js';
import evalCommand from '../../src/commands/eval.js';
import plotCommand from '../../src/commands/plot.js';
import trainCommand from '../../src/commands/train.js';
import ttaCommand from '../../src/commands/tta.js';
import { Tokenizer } from '../../src/data/tokenizer.js';
import { decodeImage } from '../../src/data/image.js';
import { EXIT, GraftError } from '../../src/errors.js';
import { ArrowWriter } from '../../src/formats/arrow.js';
import { readGraft } from '../../src/formats/graft.js';
import { batchOf, type Row } from '../../src/formats/rows.js';
import { openSafetensors } from '../../src/formats/safetensors.js';
import { openTable } from '../../src/formats/table.js';
import { inspect } from '../../src/inspection.js';
import { openRuntime } from '../../src/runtime.js';
import { idx, npy, picture, tar, wav } from '../data/makers.js';
import { ROOT } from '../models/golden.js';
import { graft, scratch } from '../support/tiny.js';

const FOLDER = scratch();
const GOLDEN = join(ROOT, 'test/golden');
const BERT = join(GOLDEN, 'models/bert-classify');

before(() => useBackend('auto'));

let counter = 0;
/** A file of this content, in a folder of its own. */
function file(content: string | Uint8Array, name = 'x'): string {
  const folder = join(FOLDER, String(counter++));
  mkdirSync(folder);
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

/** A copy of a golden folder in which these files are others, or gone. */
function altered(from: string, files: Record<string, string | Uint8Array | null>): string {
  const folder = join(FOLDER, String(counter++));
  cpSync(join(GOLDEN, from), folder, { recursive: true, filter: (path) => files[path.slice(join(GOLDEN, from).length + 1)] !== null });
  for (const [name, content] of Object.entries(files)) if (content !== null) writeFileSync(join(folder, name), content);
  return folder;
}

const config = (change: object, model = 'bert-classify'): string => altered(`models/${model}`, { 'config.json': JSON.stringify({ ...JSON.parse(readFileSync(join(GOLDEN, `models/${model}/config.json`), 'utf8')), ...change }) });

function safetensors(header: unknown, data: Uint8Array = new Uint8Array(0), length?: bigint): Buffer {
  const text = Buffer.isBuffer(header) ? header : Buffer.from(typeof header === 'string' ? header : JSON.stringify(header)), size = Buffer.alloc(8);
  size.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([size, text, data]);
}

const w = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
const described = (graft: unknown): Buffer => safetensors({ __metadata__: { graft: typeof graft === 'string' ? graft : JSON.stringify(graft) }, w }, new Uint8Array(8));
const DESCRIPTION = { version: 1, method: 'lora', config: {}, base: { type: 'bert', headers: '' }, head: null, history: [] };

async function arrow(schema: Schema, rows: readonly Row[]): Promise<Buffer> {
  const parts: Buffer[] = [];
  const writer = new ArrowWriter({ name: 'memory', write: async (b) => { parts.push(Buffer.from(b as Uint8Array)); }, commit: async () => {}, abort: () => {} }, schema);
  await writer.write(batchOf(schema, rows));
  await writer.close();
  return Buffer.concat(parts);
}

/** Golden bytes with some of them changed. */
const changed = (path: string, change: (bytes: Buffer) => void): Buffer => {
  const bytes = readFileSync(join(GOLDEN, path));
  change(bytes);
  return bytes;
};

async function rows(path: string, columns?: string): Promise<Row[]> {
  const all: Row[] = [];
  for await (const group of (await openTable(path, { columns })).rows(100)) all.push(...group);
  return all;
}

const run = (command: Command) => async (...argv: string[]): Promise<void> => command.run((await parseCommandLine(command, argv) as { args: Arguments }).args);
const [data, evaluate, plot, train, tta] = [dataCommand, evalCommand, plotCommand, trainCommand, ttaCommand].map(run);
const imported = (...argv: string[]): Promise<void> => data('import', ...argv, '-o', '/dev/null');
const measured = (content: string | Uint8Array): Promise<void> => evaluate('-d', file(content), '-o', '/dev/null');
const model = async (path: string, ...grafts: string[]): Promise<void> => {
  const runtime = await openRuntime({ model: path, grafts: await Promise.all(grafts.map(readGraft)) });
  runtime.dispose();
};
const shards = (map: unknown, files: Record<string, Uint8Array> = {}): string => altered('models/bert-classify', { 'model.safetensors': null, 'model.safetensors.index.json': JSON.stringify({ weight_map: map }), ...files });
const tokenizer = (change: object): Tokenizer => new Tokenizer(altered('tokenizers/wordpiece', { 'tokenizer.json': JSON.stringify({ ...JSON.parse(readFileSync(join(GOLDEN, 'tokenizers/wordpiece/tokenizer.json'), 'utf8')), ...change }) }), 16);
const peft = (change: object, name = 'bert-lora'): string => altered(`peft-methods/${name}`, { 'adapter_config.json': JSON.stringify({ ...JSON.parse(readFileSync(join(GOLDEN, `peft-methods/${name}/adapter_config.json`), 'utf8')), ...change }) });
const { data: bad, noInput, usage } = EXIT;

type Case = [name: string, action: () => unknown, message: RegExp, status?: number];

const TABLES: Record<string, Case[]> = {
  safetensors: [
    ['no file', () => openSafetensors(join(FOLDER, 'none')), /none: no such file/, noInput],
    ['a folder', () => openSafetensors(FOLDER), /is a directory/, noInput],
    ['header length huge', () => openSafetensors(file(safetensors('{}', undefined, 2n ** 62n))), /over the limit/],
    ['header length negative', () => openSafetensors(file(safetensors('{}', undefined, 2n ** 64n - 1n))), /over the limit/],
    ['header beyond the file', () => openSafetensors(file(safetensors('{}', undefined, 3n))), /cut short: the header wants 3 bytes/],
    ['overlapping tensors', () => openSafetensors(file(safetensors({ a: w, b: w }, new Uint8Array(8)))), /'b' overlaps/],
    ['offsets out of range', () => openSafetensors(file(safetensors({ w: { ...w, shape: [2 ** 40], data_offsets: [0, 2 ** 42] } }))), /ends at byte .* beyond the end/],
    ['offsets reversed', () => openSafetensors(file(safetensors({ w: { ...w, data_offsets: [8, 0] } }, new Uint8Array(8)))), /no valid data_offsets/],
    ['a shape beyond integers', () => openSafetensors(file(safetensors({ w: { ...w, shape: [2 ** 40, 2 ** 40] } }, new Uint8Array(8)))), /does not fill whole bytes|no valid/],
    ['a name twice', () => openSafetensors(file(safetensors(`{"w":${JSON.stringify(w)},"w":${JSON.stringify(w)}}`, new Uint8Array(8)))), /names 'w' twice/],
    ['invalid UTF-8', () => openSafetensors(file(safetensors(Buffer.from([0x7b, 0x22, 0xff, 0x22])))), /not valid UTF-8/],
    ['deep JSON', () => openSafetensors(file(safetensors(`{"w":${'['.repeat(99999)}`))), /nested deeper than 4/],
    ['no dtype', () => openSafetensors(file(safetensors({ w: { shape: [2], data_offsets: [0, 8] } }, new Uint8Array(8)))), /unknown dtype undefined/],
    ['truncated data', () => openSafetensors(file(safetensors({ w }, new Uint8Array(7)))), /is it cut short/],
    ['an empty file', () => openSafetensors(file('')), /it is empty/],
  ],
  graft: [
    ['no description', () => readGraft(file(safetensors({ w }, new Uint8Array(8)))), /not a graft: it has no __metadata__.graft/],
    ['a description that is no JSON', () => readGraft(file(described('{"version":'))), /__metadata__.graft: is not JSON/],
    ['a description nested deep', () => readGraft(file(described('['.repeat(5000)))), /nested deeper than 200/],
    ['a later version', () => readGraft(file(described({ ...DESCRIPTION, version: 2 }))), /layout version 2 is not known/],
    ['no base', () => readGraft(file(described({ ...DESCRIPTION, base: 3 }))), /lacks its method, config or base/],
    ['a head of no kind', () => readGraft(file(described({ ...DESCRIPTION, head: { task: 'constructor' } }))), /describes no head/],
    ['an unknown method', () => model(BERT, file(described({ ...DESCRIPTION, method: 'constructor' }))), /unknown method 'constructor'/, usage],
    ['a configuration of other types', () => model(BERT, file(described({ ...DESCRIPTION, config: { rank: 'x' } }))), /configuration is broken: rank is "x"/],
    ['targets that are not there', () => model(BERT, file(described({ ...DESCRIPTION, config: { targetModules: ['nowhere'] } }))), /does not fit.*no module of this bert matches/],
    ['another model', () => model(BERT, file(described({ ...DESCRIPTION, base: { type: 'gpt2', headers: '' } }))), /made for a gpt2 model, this is bert/],
  ],
  peft: [
    ['no configuration', () => model(BERT, altered('peft-methods/bert-lora', { 'adapter_config.json': null })), /adapter_config.json: no such file/, noInput],
    ['no weights', () => model(BERT, altered('peft-methods/bert-lora', { 'adapter_model.safetensors': null })), /has no adapter_model.safetensors/],
    ['a rank that is none', () => model(BERT, peft({ r: [8] })), /rank is \[8\], not a number/],
    ['another kind', () => model(BERT, peft({ peft_type: 'constructor' })), /"constructor" is not read/],
    ['a pattern of texts', () => model(BERT, peft({ rank_pattern: { query: 'x' } })), /rank_pattern is/],
    ['an adapter of another model', () => model(join(GOLDEN, 'models/gpt2-clm'), peft({})), /does not fit/],
    ['weights cut short', () => model(BERT, altered('peft-methods/bert-lora', { 'adapter_model.safetensors': readFileSync(join(GOLDEN, 'peft-methods/bert-lora/adapter_model.safetensors')).subarray(0, 3000) })), /cut short/],
  ],
  checkpoint: [
    ['no folder', () => model(join(FOLDER, 'none')), /no such file/, noInput],
    ['no config.json', () => model(altered('models/bert-classify', { 'config.json': null })), /has no config.json/, noInput],
    ['config.json of another type', () => model(altered('models/bert-classify', { 'config.json': '[]' })), /config.json: is not a JSON object/],
    ['config.json nested deep', () => model(altered('models/bert-classify', { 'config.json': '['.repeat(100000) })), /nested deeper than 200/],
    ['an unknown architecture', () => model(config({ model_type: 'constructor' })), /architecture 'constructor' is not known/],
    ['a size that is a text', () => model(config({ hidden_size: '24' })), /needs a number 'hidden_size'/],
    ['a size that is negative', () => model(config({ num_attention_heads: -4 })), /'num_attention_heads' is -4/],
    ['endless layers', () => model(config({ num_hidden_layers: 1e9 })), /'num_hidden_layers' is 1000000000/],
    ['layers that are not there', () => model(config({ num_hidden_layers: 3 })), /no tensor 'bert.encoder.layer.2/],
    ['sizes that do not divide', () => model(config({ num_attention_heads: 5 })), /5 heads .* do not divide/],
    ['weights of another size', () => model(config({ intermediate_size: 41 })), /'bert.encoder.layer.0.intermediate.dense.weight' is \[40,24\], by its config.json it is \[41,24\]/],
    ['rotary parameters of no kind', () => model(config({ rope_parameters: { rope_theta: 'x' } }, 'llama-clm')), /rope_type 'default' needs a number 'rope_theta'/],
    ['an image of no size', () => model(config({ image_size: 1e9 }, 'vit-classify')), /'image_size' is 1000000000/],
    ['stages that do not match', () => model(config({ depths: [1] }, 'resnet-basic')), /hidden_sizes but 1 depths/],
    ['no weights', () => model(altered('models/bert-classify', { 'model.safetensors': null })), /neither model.safetensors nor/, noInput],
    ['weights that are integers', () => model(altered('models/bert-classify', { 'model.safetensors': integers() })), /is I32, weights are/],
    ['an index without a map', () => model(shards([])), /has no weight_map/],
    ['a shard in another folder', () => model(shards({ w: '../../x.safetensors' })), /"..\/..\/x.safetensors", which is not a file name/],
    ['a shard that is missing', async () => { await inspect(shards({ w: 'one.safetensors' })); }, /one.safetensors: no such file/, noInput],
    ['a shard without its tensor', async () => { await inspect(shards({ v: 'one.safetensors' }, { 'one.safetensors': safetensors({ w }, new Uint8Array(8)) })); }, /lacks tensor 'v'/],
  ],
  tokenizer: [
    ['no file', () => new Tokenizer(altered('tokenizers/wordpiece', { 'tokenizer.json': null }), 16), /no such file/, noInput],
    ['no model', () => tokenizer({ model: null }).encode('a'), /is not a tokenizer graft can read/],
    ['a vocabulary of texts', () => tokenizer({ model: { type: 'WordPiece', vocab: { '[UNK]': 'x', a: 'y' }, unk_token: '[UNK]' } }).encode('a'), /is token "|not a tokenizer/],
    ['added tokens of no kind', () => tokenizer({ added_tokens: [{ id: -1 }] }), /added_tokens is no list of tokens/],
    ['ids beyond the embeddings', () => new Tokenizer(join(GOLDEN, 'tokenizers/wordpiece'), 16, 3).encode('hello'), /the model has 3/],
    ['a length of no kind', () => new Tokenizer(altered('tokenizers/wordpiece', { 'tokenizer_config.json': '{"model_max_length":"x"}' }), 16), /model_max_length is "x"/],
  ],
  arrow: [
    ['an empty file', () => rows(file('')), /is empty/],
    ['a file cut short', () => rows(file(readFileSync(join(GOLDEN, 'tables/stream.arrow')).subarray(0, 2000))), /cut short/],
    ['compressed batches', () => rows(join(GOLDEN, 'tables/compressed.arrow')), /are compressed \(LZ4_FRAME\); write it uncompressed/],
    ['a header that leads outside', () => rows(file(changed('tables/stream.arrow', (b) => b.writeInt32LE(0x7fffff00, 8)))), /an offset of its header leads to byte/],
    ['a vector of four billion', () => rows(file(changed('tables/stream.arrow', (b) => b.fill(255, 60, 72)))), /is not valid Arrow data/],
    ['offsets that fall', async () => rows(file(await fallingOffsets())), /column 'text': the offset of row 1 is/],
    ['an index beyond its dictionary', () => rows(file(changed('tables/stream.arrow', (b) => b.writeInt32LE(9, aligned(b, Int32Array.of(0, 1, 0, 0)))))), /column 'kind': row 0 is entry 9 of a dictionary of 2/],
    ['a dictionary that is missing', () => rows(file(withoutDictionary())), /column 'kind': row 0 is entry 0 of a dictionary of 0/],
    ['two columns of one name', async () => rows(file(await arrow(new Schema([new Field('a', new Utf8()), new Field('a', new Utf8())]), [{ a: 'x' }]))), /two of its columns are named 'a'/],
    ['a column that is missing', async () => (await openTable(join(GOLDEN, 'tables/stream.arrow'))).requireColumns(['words']), /no column 'words'; it has text, label/],
    ['something else', () => rows(file('a,b\n1,2\n')), /neither Arrow, Parquet nor JSON lines/],
  ],
  parquet: [
    ['cut short', () => rows(file(readFileSync(join(GOLDEN, 'tables/none.parquet')).subarray(0, 900))), /is not readable Parquet/],
    ['an index beyond the file', () => rows(file(changed('tables/none.parquet', (b) => b.writeUInt32LE(0x7fffffff, b.length - 8)))), /is not readable Parquet/],
    ['a page of no kind', () => rows(file(changed('tables/plain.parquet', (b) => { b[5] = 0x7e; }))), /is not readable Parquet/],
    ['broken gzip', () => rows(file(changed('tables/gzip.parquet', (b) => b.fill(0, b.indexOf(Buffer.from([0x1f, 0x8b])) + 2, 60)))), /is not readable Parquet/],
  ],
  'JSON lines': [
    ['no JSON', () => rows(file('{"a":1}\n{"a":')), /x:2: is not JSON/],
    ['nested deep', () => rows(file(`{"a":${'['.repeat(9999)}`)), /x:1: is nested deeper than 200/],
    ['a list instead of an object', () => rows(file('{"a":1}\n[1]\n')), /x:2: is not a JSON object/],
    ['another type further on', () => rows(file(`${'{"a":1}\n'.repeat(1024)}{"a":"x"}\n`)), /x:1025: column 'a' is string/],
    ['types that mix', () => rows(file('{"a":1}\n{"a":"x"}\n')), /mixes integer and string/],
  ],
  import: [
    ['CSV of another width', () => imported(file('a,b\n1\n', 'x.csv')), /x.csv:2: has 1 fields where 2/],
    ['CSV whose quote never ends', () => imported(file('a,b\n"1,2\n', 'x.csv')), /never ends/],
    ['CSV that is empty', () => imported(file('', 'x.csv')), /is empty/],
    ['text that is not UTF-8', () => imported(file(Buffer.from([0x61, 0xff, 0x0a]), 'x.txt')), /x.txt:1: is not valid UTF-8/],
    ['JSON that is none', () => imported(file('[1,', 'x.json')), /is not JSON/],
    ['JSON that is a number', () => imported(file('3', 'x.json')), /neither an array nor an object/],
    ['CoNLL of another width', () => imported(file('a B\nc\n', 'x.conll')), /x.conll:2: has 1 columns/],
    ['CoNLL-U of another width', () => imported(file('1\ta\n', 'x.conllu')), /2 columns where CoNLL-U has 10/],
    ['FASTA without a name', () => imported(file('ACGT\n', 'x.fasta')), /a sequence before the first/],
    ['FASTA without a sequence', () => imported(file('>a\n>b\nAC\n', 'x.fasta')), /'a' has no sequence/],
    ['a tar cut short', async () => imported(file(tar({ 'a/1.png': await picture(1) }).subarray(0, 600), 'x.tar')), /cut short/],
    ['a tar with a giant in it', async () => imported(file(giant(), 'x.tar')), /a member of 8589934591 bytes/],
    ['a tar without pictures', () => imported('--format', 'images', file(tar({ 'a.txt': Buffer.from('a') }), 'x.tar')), /holds no pictures/],
    ['broken gzip', () => imported(file(gzipSync('a,b\n1,2\n').subarray(0, 15), 'x.csv.gz')), /broken gzip/],
    ['IDX cut short', () => imported(file(idx([2, 2], [1]), 'x.idx')), /cut short/],
    ['IDX of empty records', () => imported(file(idx([4294967295, 0], []), 'x.idx')), /holds no records, or empty ones/],
    ['IDX that goes on', () => imported(file(idx([1, 1], [1, 2]), 'x.idx')), /goes on after its 1 records/],
    ['sound that is none', () => imported('--raw', file('RIFF', 'x.wav')), /is not a WAV file/],
    ['sound longer than its file', () => imported('--raw', '--pattern', '(?<n>.*)', file(wav(1, 16, 1, Buffer.alloc(8)).subarray(0, 48), 'x.wav')), /is cut short/],
    ['sound that is NaN', () => imported('--raw', '--pattern', '(?<n>.*)', file(wav(3, 32, 1, Buffer.from(Float32Array.of(0, NaN).buffer)), 'x.wav')), /sample 2 is NaN/],
    ['an array with a giant header', () => cifar(Buffer.concat([Buffer.from('\x93NUMPY\x02\x00', 'latin1'), Buffer.from([255, 255, 255, 255])])), /its header takes 4294967295 bytes/],
    ['an array of no shape', () => cifar(npy('|u1', [-5, 1, 1, 3], new Uint8Array(3))), /impossible shape/],
    ['an array of objects', () => cifar(npy('|O', [5, 1, 1, 3], new Uint8Array(3))), /is \|O \[5,1,1,3\], not uint8/],
    ['too few labels', () => cifar(npy('|u1', [5, 1, 1, 3], new Uint8Array(15)), npy('<i8', [2], new Uint8Array(16))), /2 labels where .* has 5 images/],
    ['a label that is no class', () => imported('--labels', 'a,b', file('text,label\nx,c\n', 'x.csv')), /row 1: 'c' in column 'label' is none of the classes a, b/],
    ['contents of no format', () => imported(file(Buffer.from([1, 2, 3]))), /neither name nor contents tell/, usage],
  ],
  image: [
    ['no picture', () => decodeImage(Buffer.from('no picture at all'), 'x'), /x: cannot be decoded/],
    ['cut short', async () => decodeImage((await picture(9, 64)).subarray(0, 70), 'x'), /x: cannot be decoded/],
    ['of huge dimensions', async () => decodeImage(await huge(), 'x'), /x: cannot be decoded: .*(pixel|limit|width|height)/i],
  ],
  plot: [
    ['a log that is none', () => plot('curves', file('hello\n'), '-o', '/dev/null'), /x:1: is not JSON/],
    ['a log of lists', () => plot('curves', file('[1]\n'), '-o', '/dev/null'), /x:1: is not a JSON object/],
    ['a log without losses', () => plot('curves', file('{"step":1}\n'), '-o', '/dev/null'), /no event has the numbers/],
    ['metrics without that one', () => plot('bars', file('{"metric":"a","value":1}\n'), '--metric', 'b', '-o', '/dev/null'), /no metric 'b'; it has a/],
    ['spectra of a matrix that is not finite', () => plot('spectra', file(safetensors({ w: { dtype: 'F32', shape: [1, 2], data_offsets: [0, 8] } }, new Uint8Array(Float32Array.of(1, NaN).buffer))), '-o', '/dev/null'), /x: tensor 'w' holds values that are not finite/],
    ['ranks of no graft', () => plot('ranks', file(safetensors({ w }, new Uint8Array(8))), '-o', '/dev/null'), /no low-rank sites/],
  ],
  eval: [
    ['no predictions', () => measured('{"text":"a"}\n'), /holds no predictions/],
    ['logits that are missing', () => measured('{"logits":[1,2],"label":0}\n{"logits":null,"label":0}\n'), /row 2: logits are no list of numbers/],
    ['logits of another number', () => measured('{"logits":[1,2],"label":0}\n{"logits":[1],"label":0}\n'), /row 2: has 1 logits where there are 2 classes/],
    ['a label out of range', () => measured('{"logits":[1,2],"label":2}\n'), /row 1: label 2 is not a class 0 to 1/],
    ['no label', () => measured('{"logits":[1,2]}\n'), /no column 'label'/],
    ['tags of no kind', () => measured('{"pred_tags":null,"tags":["O"]}\n'), /row 1: pred_tags is no list of texts/],
    ['no rows', async () => measured(await arrow(new Schema([new Field('logits', new List(new Field('item', new Float32()))), new Field('label', new Int32())]), [])), /has no rows/],
    ['names of classes that are broken', async () => measured(await arrow(new Schema([new Field('logits', new List(new Field('item', new Float32()))), new Field('label', new Int32())], new Map([['graft.labels', '[']])), [{ logits: [1, 2], label: 0 }])), /graft.labels: is not JSON/],
  ],
};

/** BERT's weights said to be integers. */
function integers(): Buffer {
  const bytes = readFileSync(join(BERT, 'model.safetensors'));
  const length = Number(bytes.readBigUInt64LE());
  return safetensors(bytes.subarray(8, 8 + length).toString().replaceAll('"F32"', '"I32"'), bytes.subarray(8 + length));
}

async function fallingOffsets(): Promise<Buffer> {
  const bytes = await arrow(new Schema([new Field('text', new Utf8(), false)]), [{ text: 'abc' }, { text: 'de' }]);
  bytes.writeInt32LE(-5, bytes.indexOf(Buffer.from(Int32Array.of(0, 3, 5).buffer)) + 4);
  return bytes;
}

/** Where these numbers begin a buffer. */
function aligned(bytes: Buffer, numbers: Int32Array): number {
  let at = bytes.indexOf(Buffer.from(numbers.buffer));
  while (at % 8 !== 0) at = bytes.indexOf(Buffer.from(numbers.buffer), at + 1);
  return at;
}

/** The stream of an Arrow table of which the second message, the dictionary, was left out. */
function withoutDictionary(): Buffer {
  const bytes = readFileSync(join(GOLDEN, 'tables/stream.arrow'));
  const starts = [0];
  for (let at = 0; bytes.readInt32LE(at + 4) > 0;) {
    const length = bytes.readInt32LE(at + 4), metadata = bytes.subarray(at + 8, at + 8 + length);
    at += 8 + length + Number(Message.decode(new Uint8Array(metadata)).bodyLength);
    starts.push(at);
  }
  return Buffer.concat([bytes.subarray(0, starts[1]), bytes.subarray(starts[2])]);
}

function giant(): Buffer {
  const bytes = tar({ 'a/1.png': new Uint8Array(1) });
  bytes.write('77777777777', 124);
  bytes.fill(' ', 148, 156);
  bytes.write(`${bytes.subarray(0, 512).reduce((a, b) => a + b, 0).toString(8).padStart(6, '0')}\0 `, 148);
  return bytes;
}

/** A PNG whose header promises 10⁵ × 10⁵ pixels. */
async function huge(): Promise<Buffer> {
  const { default: sharp } = await import('sharp');
  return sharp({ create: { width: 10000, height: 8000, channels: 3, background: 'red' } }).png({ compressionLevel: 1 }).toBuffer();
}

async function cifar(array: Uint8Array, labels?: Uint8Array): Promise<void> {
  const folder = join(file(array, 'fog.npy'), '..');
  if (labels) writeFileSync(join(folder, 'labels.npy'), labels);
  await imported('--format', 'cifar-c', '--kind', 'fog', folder);
}

for (const [kind, cases] of Object.entries(TABLES)) {
  test(`${kind}: what is broken is said in one line`, async () => {
    for (const [name, action, message, status = bad] of cases) {
      await assert.rejects(async () => { await action(); }, (error) => {
        assert.ok(error instanceof GraftError, `${name}: ${String((error as Error).stack)}`);
        assert.match(error.message, message, name);
        assert.equal(error.status, status, `${name}: ${error.message}`);
        assert.doesNotMatch(error.message, /[\u0000-\u001f]/, name);
        return true;
      }, `${name}: is not refused`);
    }
  });
}

test('a page that unpacks to more than it says is given up there', async () => {
  const bytes = readFileSync(join(GOLDEN, 'tables/gzip.parquet')), magic = Buffer.from([0x1f, 0x8b]);
  gzipSync(Buffer.alloc(2000), { level: 9 }).copy(bytes, bytes.indexOf(magic));
  await assert.rejects(rows(file(bytes)), { status: bad, message: /is not readable Parquet: Cannot create a Buffer larger than \d+ bytes/ });
});

test('odd but whole files are read', async () => {
  // A header of odd length leaves tensors where no float may begin.
  const header = `{"w":${JSON.stringify(w)}} `, odd = safetensors(header.length % 2 === 1 ? header : `${header} `, new Uint8Array(Float32Array.of(1.5, -2).buffer));
  const opened = openSafetensors(file(odd));
  assert.deepEqual([...opened.tensor('w').dataSync()], [1.5, -2]);
  opened.close();
  assert.deepEqual(await rows(file('{"a":{"constructor":[1,null]},"b":"x"}\n{"a":null,"b":"y"}\n')), [{ a: { constructor: [1, null] }, b: 'x' }, { a: null, b: 'y' }]);
  for (const name of ['none', 'snappy', 'gzip', 'brotli', 'plain']) assert.equal((await rows(join(GOLDEN, `tables/${name}.parquet`))).length, 6, name);
  for (const name of ['stream', 'file']) assert.deepEqual((await rows(join(GOLDEN, `tables/${name}.arrow`)))[4].tokens, ['d', null]);
});

test('a prompt from PEFT and texts with segments run together', async () => {
  const runtime = await openRuntime({ model: BERT, grafts: [await readGraft(join(GOLDEN, 'peft-methods/bert-prompt'))] });
  const ints = (values: number[]) => tf.tensor2d([values], [1, 3], 'int32');
  const logits = runtime.logits({ kind: 'text', ids: ints([5, 7, 9]), types: ints([0, 0, 1]), mask: tf.ones([1, 3]) as never });
  assert.ok(logits.dataSync().every(Number.isFinite));
  runtime.dispose();
});

test('a weight that is not finite is named', async () => {
  const bytes = readFileSync(join(GOLDEN, 'models/resnet-cifar/model.safetensors')), whole = join(GOLDEN, 'models/resnet-cifar');
  const { offset } = openSafetensors(join(whole, 'model.safetensors')).entries.get('layer2.0.conv1.weight')!;
  bytes.writeFloatLE(NaN, offset + 40);
  const broken = altered('models/resnet-cifar', { 'model.safetensors': bytes });
  const schema = new Schema([new Field('image', new Binary(), false, new Map([['shape', '32,32,3']])), new Field('label', new Int64())]);
  const images = file(await arrow(schema, [{ image: new Uint8Array(3072).fill(90), label: 0 }]));
  const named = { status: bad, message: /tensor 'layer2.0.conv1.weight' holds values that are not finite/ };
  await assert.rejects(evaluate('-m', broken, '-d', images, '-o', '/dev/null'), named);
  await assert.rejects(tta('-m', broken, '-d', images, '-o', '/dev/null', '-q'), named);
  const start = join(FOLDER, 'start.safetensors');
  const init = (await import('../../src/commands/init-adapter.js')).default;
  await run(init)('-m', whole, '--method', 'linear', '--task', 'classify', '--labels', 'a,b', '-o', start);
  await assert.rejects(train('-m', broken, '-g', start, '-d', images, '-o', '/dev/null', '--steps', '1', '-q'), named);
  await assert.rejects(train('-m', whole, '-g', start, '-d', file(await arrow(schema, [{ image: new Uint8Array(3072), label: 2 }])), '-o', '/dev/null', '--steps', '1', '-q'), { status: bad, message: /row 1: label 2 is none of the head's 2 classes/ });
  await assert.rejects(train('-m', whole, '-g', start, '-d', file(await arrow(schema, [])), '-o', '/dev/null', '--steps', '1', '-q'), { status: bad, message: /has no rows/ });
});

test('the command itself ends with the status and one line', () => {
  const cases: [string[], number, RegExp][] = [
    [['inspect', join(FOLDER, 'none')], noInput, /^graft inspect: .*none: no such file or directory\n$/],
    [['inspect', file(safetensors('{}', undefined, 2n ** 62n))], bad, /^graft inspect: .*over the limit.*\n$/],
    [['data', 'head', file('\u0000\u0001\u0002')], bad, /^graft data: .*neither Arrow, Parquet nor JSON lines.*\n$/],
    [['data', 'head', file(changed('tables/plain.parquet', (b) => { b[5] = 0x7e; }))], bad, /^graft data: .*is not readable Parquet.*\n$/],
    [['eval', '-d', file('{"a":\n')], bad, /^graft eval: .*x:1: is not JSON.*\n$/],
    [['plot', 'nothing', 'x'], usage, /^graft plot: .*\n$/],
  ];
  for (const [args, status, line] of cases) {
    const ran = graft(args);
    assert.equal(ran.status, status, ran.stderr);
    assert.match(ran.stderr, line);
    assert.equal(ran.stdout.length, 0);
  }
});
