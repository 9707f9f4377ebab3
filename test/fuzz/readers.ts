import { Binary, Field, Float32, Float64, Int32, Int64, List, Schema, Utf8 } from 'apache-arrow';
import { scoped, tf, useBackend, type Tensor } from '@graft/kernels';
import { copyFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { parseCommandLine } from '../../src/command-line.js';
import type { Arguments, Command } from '../../src/commands/command.js';
import dataCommand from '../../src/commands/data.js';
import initAdapter from '../../src/commands/init-adapter.js';
import { HeldTable } from '../../src/data/held.js';
import { fittedPixels } from '../../src/data/image.js';
import { Tokenizer } from '../../src/data/tokenizer.js';
import { ArrowWriter } from '../../src/formats/arrow.js';
import { withClassLabel } from '../../src/formats/features.js';
import { readGraft } from '../../src/formats/graft.js';
import { batchOf, type Row } from '../../src/formats/rows.js';
import { openSafetensors, readSafetensors, writeSafetensors } from '../../src/formats/safetensors.js';
import { openTable } from '../../src/formats/table.js';
import { asText, inspect } from '../../src/inspection.js';
import { Meter } from '../../src/metrics/meter.js';
import { chooseMetrics } from '../../src/metrics/registry.js';
import type { Batch, Model } from '../../src/models/model.js';
import { loadPicture } from '../../src/plot/registry.js';
import { predictionKind, predictionLabels, predictionSchema, readPredictions } from '../../src/predictions.js';
import { openRuntime } from '../../src/runtime.js';
import { loadCheckpoint, saveCheckpoint } from '../../src/training/checkpoint.js';
import { Optimiser } from '../../src/training/optimiser.js';
import { Source } from '../../src/tta/network.js';
import { loadTta } from '../../src/tta/registry.js';
import { readState, writeState } from '../../src/tta/state.js';
import { idx, npy, picture, tar, wav } from '../data/makers.js';
import { ROOT } from '../models/golden.js';
import type { Shape } from './mutate.js';

/** A whole file of a format, and what reads the file that takes its place. */
export interface Seed { path: string; bytes: Buffer; shape: Shape; read(path: string): Promise<unknown> }

/** Makes the seeds of one reader; files that stand beside them go into `folder`. */
type Seeds = (folder: string) => Promise<Seed[]>;

const GOLDEN = join(ROOT, 'test/golden');
const golden = (path: string): Buffer => readFileSync(join(GOLDEN, path));

const memory = async (write: (out: { name: string; write(b: Uint8Array | string): Promise<void>; commit(): Promise<void>; abort(): void }) => Promise<void>): Promise<Buffer> => {
  const parts: Buffer[] = [];
  await write({ name: 'memory', write: async (b) => { parts.push(Buffer.from(b as Uint8Array)); }, commit: async () => {}, abort: () => {} });
  return Buffer.concat(parts);
};

/** A copy of a folder of ours to put damaged files into. */
function copied(from: string, folder: string, name = basename(from)): string {
  const to = join(folder, name);
  mkdirSync(to, { recursive: true });
  for (const file of readdirSync(join(GOLDEN, from))) copyFileSync(join(GOLDEN, from, file), join(to, file));
  return to;
}

/** Frees what a reader that failed half-way left on the backend. */
async function tidily<T>(action: () => Promise<T>): Promise<T> {
  const { state } = tf.engine() as unknown as { state: { registeredVariables: Record<string, unknown> } };
  const before = new Set(Object.keys(state.registeredVariables));
  try {
    return await action();
  } finally {
    for (const [name, variable] of Object.entries(state.registeredVariables)) if (!before.has(name)) (variable as Tensor).dispose();
  }
}

async function parsed(command: Command, argv: string[]): Promise<() => Promise<void>> {
  const { args } = await parseCommandLine(command, argv) as { args: Arguments };
  return () => command.run(structuredClone(args));
}

const small = ({ input, imageSize: [H, W] = [16, 16] }: Pick<Model, 'input' | 'imageSize'>): Batch => (input === 'image' ? { kind: 'image', pixels: tf.fill([1, H, W, 3], 0.5) }
  : { kind: 'text', ids: tf.tensor2d([[5, 7, 9, 3]], [1, 4], 'int32'), types: tf.zeros([1, 4], 'int32'), mask: tf.tensor2d([[1, 1, 1, 0]]) } as Batch);

/** Opens a model with grafts and runs it once. */
async function runModel(path: string, grafts: readonly string[] = []): Promise<void> {
  await tidily(async () => {
    const runtime = await openRuntime({ model: path, grafts: await Promise.all(grafts.map(readGraft)), trainable: grafts.length > 0 });
    scoped(() => { runtime.logits(small(runtime.model)).dataSync(); });
    runtime.dispose();
  });
}

const MODELS = ['bert-classify', 'roberta-mlm', 'gpt2-clm', 'llama-clm', 'qwen2-clm', 'vit-classify', 'resnet-basic', 'resnet-bottleneck', 'resnet-cifar'];

const models = (file: string, shape: Shape): Seeds => async (folder) => {
  await useBackend('auto');
  return MODELS.map((name) => {
    const path = copied(`models/${name}`, folder);
    return { path: join(path, file), bytes: golden(`models/${name}/${file}`), shape, read: async () => { asText(await inspect(path)); await runModel(path); } };
  });
};

/** A checkpoint in two shards. */
const shards: Seeds = async (folder) => {
  await useBackend('auto');
  const path = copied('models/bert-classify', folder, 'sharded'), weights = golden('models/bert-classify/model.safetensors');
  const { tensors } = readSafetensors(weights, 'weights');
  const names = [...tensors.keys()].sort(), map: Record<string, string> = {};
  const { rmSync, writeFileSync } = await import('node:fs');
  rmSync(join(path, 'model.safetensors'));
  for (const part of [0, 1]) {
    const own = names.filter((_, i) => i % 2 === part), file = `model-${part + 1}.safetensors`;
    for (const name of own) map[name] = file;
    writeFileSync(join(path, file), await memory((out) => writeSafetensors(out, own.map((name) => ({ name, ...tensors.get(name)!, data: () => tensors.get(name)!.data })))));
  }
  const index = 'model.safetensors.index.json';
  return [{ path: join(path, index), bytes: Buffer.from(JSON.stringify({ metadata: { total_size: 1 }, weight_map: map })), shape: 'json', read: async () => { asText(await inspect(path)); await runModel(path); } }];
};

const METHODS = ['lora', 'bottleneck', 'prefix', 'prompt', 'bitfit', 'linear', 'full'];

const grafts: Seeds = async (folder) => {
  await useBackend('auto');
  const model = join(GOLDEN, 'models/bert-classify');
  return Promise.all(METHODS.map(async (method) => {
    const path = join(folder, `${method}.safetensors`);
    await (await parsed(initAdapter, ['-m', model, '--method', method, '--task', 'classify', '--labels', 'a,b', ...(method.startsWith('pr') ? ['--tokens', '4'] : []), '-o', path]))();
    return { path, bytes: readFileSync(path), shape: 'safetensors' as const, read: async () => { asText(await inspect(path)); await runModel(model, [path]); } };
  }));
};

const ADAPTERS: Record<string, string> = { 'bert-lora': 'bert-classify', 'bert-prompt': 'bert-classify', 'bert-prefix': 'bert-classify', 'gpt2-lora': 'gpt2-clm', 'llama-prefix': 'llama-clm' };

const peft = (file: string, shape: Shape): Seeds => async (folder) => {
  await useBackend('auto');
  return Object.entries(ADAPTERS).map(([name, model]) => {
    const path = copied(`peft-methods/${name}`, folder);
    return { path: join(path, file), bytes: golden(`peft-methods/${name}/${file}`), shape, read: async () => { asText(await inspect(path)); await runModel(join(GOLDEN, 'models', model), [path]); } };
  });
};

const tensors: Seeds = async (folder) => {
  await useBackend('auto');
  const types = ['F32', 'F16', 'BF16', 'F64', 'I64', 'U8', 'BOOL', 'I8', 'I16', 'F8_E5M2'] as const;
  const width = { F32: 4, F16: 2, BF16: 2, F64: 8, I64: 8, U8: 1, BOOL: 1, I8: 1, I16: 2, F8_E5M2: 1 };
  const bytes = await memory((out) => writeSafetensors(out, types.map((dtype) => ({ name: `t.${dtype}`, dtype, shape: [2, 4], data: () => new Uint8Array(8 * width[dtype]) })), { format: 'pt' }));
  const read = async (path: string): Promise<void> => {
    asText(await inspect(path));
    const file = openSafetensors(path);
    try {
      for (const name of file.entries.keys()) {
        file.read(name);
        file.tensor(name).dispose();
      }
    } finally {
      file.close();
    }
    readSafetensors(readFileSync(path), path);
  };
  return [{ path: join(folder, 'x.safetensors'), bytes, shape: 'safetensors', read }];
};

const tokenizer = (file: string): Seeds => async (folder) => ['wordpiece', 'gpt2', 'llama', 'roberta', 'unigram'].map((name) => {
  const path = copied(`tokenizers/${name}`, folder);
  const read = async (): Promise<void> => {
    const words = new Tokenizer(path, 32);
    const { ids } = words.encode('Héllo wörld, 12 tokens!\n', 'a pair of 世界 texts');
    words.encodeWords(['New', 'York', '']);
    words.words(ids);
    words.surface(ids);
    words.decode(ids);
  };
  return { path: join(path, file), bytes: golden(`tokenizers/${name}/${file}`), shape: 'json' as const, read };
});

/** Reads rows, and moves them as the data operations do. */
async function readTable(path: string): Promise<void> {
  asText(await inspect(path));
  const table = await openTable(path);
  for await (const rows of table.rows(4)) for (const row of rows) JSON.stringify(row, (_, v) => (typeof v === 'bigint' ? String(v) : v));
  for (const column of table.columns) table.classNames(column);
  const held = await HeldTable.read(await openTable(path));
  const order = Uint32Array.from({ length: held.length }, (_, i) => held.length - 1 - i);
  for (const batch of held.take(order)) batch.toArray();
}

const tables = (files: readonly string[]): Seeds => async (folder) =>
  files.map((file) => ({ path: join(folder, file), bytes: golden(`tables/${file}`), shape: 'bytes', read: readTable }));

const arrowBytes = async (schema: Schema, rows: readonly Row[]): Promise<Buffer> => memory(async (out) => {
  const writer = new ArrowWriter(out, schema);
  await writer.write(batchOf(schema, rows));
  await writer.close();
});

const LINES = ['{"text":"a","label":1,"tags":[1,2],"more":{"x":null}}', '{"text":"b","label":0,"tags":[],"more":{"x":"y"}}', ''].join('\n');
const jsonl: Seeds = async (folder) => [
  { path: join(folder, 'a.jsonl'), bytes: Buffer.from(LINES), shape: 'bytes', read: readTable },
  { path: join(folder, 'one.jsonl'), bytes: Buffer.from('{"text":"a","label":1,"tags":[1,2],"more":{"x":[null,{"y":2.5}]}}'), shape: 'json', read: readTable },
];

/** `graft data import`, options included, of one file. */
const imports = (make: (folder: string) => Promise<{ file: string; bytes: Buffer; argv?: string[]; shape?: Shape; operand?: string }[]>): Seeds => async (folder) =>
  Promise.all((await make(folder)).map(async ({ file, bytes, argv = [], shape = 'bytes' as Shape, operand = file }) => {
    const path = join(folder, file);
    mkdirSync(join(path, '..'), { recursive: true });
    const { writeFileSync } = await import('node:fs');
    writeFileSync(path, bytes);
    return { path, bytes, shape, read: await parsed(dataCommand, ['import', ...argv, join(folder, operand), '-o', '/dev/null']) };
  }));

const TEXTS = imports(async () => [
  { file: 'a.csv', bytes: Buffer.from('text,label\n"a ""quoted"", b",x\r\nplain,y\n"two\nlines",x\n') },
  { file: 'a.tsv', bytes: Buffer.from('text\tlabel\na b\t1\nc\t0\n') },
  { file: 'a.conll', bytes: Buffer.from('-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\nPeter NNP B-PER\n') },
  { file: 'a.conllu', bytes: Buffer.from('# sent_id = 1\n# text = A b\n1\tA\ta\tDET\t_\t_\t2\tdet\t_\t_\n1-2\tx\t_\t_\t_\t_\t_\t_\t_\t_\n2\tb\tb\tNOUN\t_\t_\t0\troot\t_\t_\n\n'), argv: ['--trees'] },
  { file: 'a.fasta', bytes: Buffer.from('>one first\nACGT\nAC\n>two\nMKV*\n') },
  { file: 'a.txt', bytes: Buffer.from('DESC:manner How did it go ?\nNUM:count How many ?\n'), argv: ['--pattern', '^(?<label>\\w+):(?<fine>\\w+) (?<text>.*)$'] },
  { file: 'b.txt', bytes: Buffer.from('One\nparagraph.\n\nTwo.\n'), argv: ['--unit', 'paragraph'] },
  { file: 'a.jsonl', bytes: Buffer.from(LINES) },
  { file: 'a.json', bytes: Buffer.from('[{"text":"a","label":"x"},{"text":"b","label":"y"}]'), shape: 'json' },
  { file: 'b.json', bytes: Buffer.from('{"q1":{"text":"a","label":"x"},"q2":{"text":"b","label":"y"}}'), shape: 'json' },
  { file: 'a.csv.gz', bytes: gzipSync('text,label\na,x\nb,y\n') },
  { file: 'unknown', bytes: Buffer.from('text,label\na,x\nb,y\n'), argv: ['--format', 'csv'] },
]);

const MEDIA = imports(async () => {
  const sound = wav(1, 16, 1, Buffer.from(Int16Array.of(0, 16384, -5).buffer)), pixels = await picture(90);
  return [
    { file: 'a.wav', bytes: sound, argv: ['--raw', '--pattern', '(?<name>[^/]+)$'] },
    { file: 'f.wav', bytes: wav(3, 64, 2, Buffer.from(Float64Array.of(0.5, -0.5, 1, 2).buffer)), argv: ['--raw', '--pattern', '(?<name>[^/]+)$'] },
    { file: 'b.wav', bytes: wav(1, 24, 1, Buffer.alloc(9, 7)), argv: ['--pattern', '(?<name>[^/]+)$'] },
    { file: 'sounds.tar', bytes: tar({ 'rec/7_anna_0.wav': sound, 'rec/3_ben_1.wav': sound }), argv: ['--raw', '--pattern', '(?<label>\\d)_(?<speaker>\\w+)_\\d+'] },
    { file: 'pictures.tar', bytes: tar({ 'a/1.png': pixels, [`b/${'x'.repeat(120)}/2.png`]: pixels }) },
    { file: 'pictures.tgz', bytes: gzipSync(tar({ 'a/1.png': pixels, 'b/2.png': pixels })), argv: ['--format', 'images'] },
    { file: 'images-ubyte', bytes: idx([2, 2, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]) },
    { file: 'labels-ubyte', bytes: idx([3], [1, 2, 3]) },
    { file: 'c/fog.npy', bytes: npy('|u1', [10, 1, 1, 3], Uint8Array.from({ length: 30 }, (_, i) => i)), argv: ['--format', 'cifar-c', '--kind', 'fog', '--severity', '1,5', '--label', 'none'], operand: 'c' },
  ];
});

const LABELS = imports(async (folder) => {
  const { writeFileSync } = await import('node:fs');
  mkdirSync(join(folder, 'c'));
  writeFileSync(join(folder, 'c/fog.npy'), npy('|u1', [10, 1, 1, 3], new Uint8Array(30)));
  return [{ file: 'c/labels.npy', bytes: npy('<i8', [10], new Uint8Array(BigInt64Array.from({ length: 10 }, (_, i) => BigInt(i % 2)).buffer)), argv: ['--format', 'cifar-c', '--kind', 'fog', '--severity', '1-5'], operand: 'c' }];
});

const RAW = imports(async () => [{ file: 'a.tar', bytes: tar({ 'a/1.png': await picture(90), 'b/2.png': await picture(10, 8) }), argv: ['--raw', '--size', '6'] }]);

const COLUMNS = imports(async () => [
  ...['stream.arrow', 'file.arrow', 'plain.parquet', 'snappy.parquet'].map((file) => ({ file, bytes: golden(`tables/${file}`), argv: ['--label', 'text', '--set', 'x=y', '--columns', 'words=tokens'] })),
]);

const pictures: Seeds = async (folder) => {
  const library = sharp(Buffer.from(Array.from({ length: 12 * 9 * 3 }, (_, i) => (i * 37) % 256)), { raw: { width: 12, height: 9, channels: 3 } });
  const formats = { png: library.clone().png(), jpg: library.clone().jpeg(), webp: library.clone().webp(), gif: library.clone().gif(), tiff: library.clone().tiff(), palette: library.clone().png({ palette: true }) };
  const read = async (path: string): Promise<unknown> => fittedPixels(readFileSync(path), null, [6, 6], path);
  return Promise.all(Object.entries(formats).map(async ([name, image]) => ({ path: join(folder, name), bytes: await image.toBuffer(), shape: 'bytes' as const, read })));
};

const predictions: Seeds = async (folder) => {
  const classes = withClassLabel(predictionSchema('class', new Schema([new Field('label', new Int32()), new Field('domain', new Utf8())]), ['a', 'b']), 'label', ['a', 'b']);
  const id = new Field('id', new Utf8()), words = new Field('tags', new List(new Field('item', new Utf8())));
  const tags = predictionSchema('tags', new Schema([id, words]), ['O', 'B-X', 'I-X']), text = predictionSchema('text', new Schema([id]), []);
  const files = {
    classes: await arrowBytes(classes, [0, 1, 0].map((label) => ({ label, domain: 'fog', logits: Float32Array.of(1, -1), pred: 0, batch: 0 }))),
    tags: await arrowBytes(tags, [{ id: 'x', pred_tags: ['B-X', 'O'], tags: ['B-X', 'I-X'] }]), text: await arrowBytes(text, [{ id: 'x', nll: 3.5, tokens: 4, bytes: 20 }]),
  };
  const read = async (path: string): Promise<void> => {
    const table = await openTable(path), kind = predictionKind(table);
    const meter = new Meter(chooseMetrics([], kind), { names: predictionLabels(table) }, 3);
    for await (const row of readPredictions(table, table.columns.includes('domain') ? 'domain' : undefined)) meter.add(row);
    JSON.stringify(meter.results());
  };
  const lines = Buffer.from('{"label":0,"domain":"fog","logits":[1.5,-1]}\n{"label":1,"domain":"fog","logits":[0.5,-1]}\n');
  return [
    ...Object.entries(files).map(([name, bytes]) => ({ path: join(folder, name), bytes, shape: 'bytes' as const, read })),
    { path: join(folder, 'lines'), bytes: lines, shape: 'bytes', read }, { path: join(folder, 'line'), bytes: Buffer.from('{"label":0,"domain":"fog","logits":[1.5,-1]}'), shape: 'json', read },
  ];
};

const plots: Seeds = async (folder) => {
  const draw = (name: string, options: Record<string, unknown>) => async (path: string): Promise<void> => {
    const picture = await loadPicture(name), bytes = readFileSync(path);
    await picture.draw([{ name: path, bytes, text: picture.binary ? '' : bytes.toString() }], options);
  };
  const graft = await memory((out) => writeSafetensors(out, ['a.0.q', 'a.1.q'].map((site) => ({ name: `${site}.lora_A.weight`, dtype: 'F32' as const, shape: [2, 4], data: () => new Uint8Array(new Float32Array(8).fill(0.5).buffer) }))));
  const log = '{"event":"step","step":1,"loss":2.5}\n{"event":"step","step":2,"loss":1.5}\n', metrics = '{"metric":"accuracy","value":0.5,"n":3,"group":"fog","low":0.4,"high":0.6}\n';
  return [
    { path: join(folder, 'log'), bytes: Buffer.from(log), shape: 'bytes', read: draw('curves', { field: 'loss', smooth: 2 }) },
    { path: join(folder, 'step'), bytes: Buffer.from(log.split('\n')[0]), shape: 'json', read: draw('curves', { field: 'loss', smooth: 2 }) },
    { path: join(folder, 'metric'), bytes: Buffer.from(metrics.trim()), shape: 'json', read: draw('bars', {}) },
    { path: join(folder, 'ranks'), bytes: graft, shape: 'safetensors', read: draw('ranks', {}) }, { path: join(folder, 'spectra'), bytes: graft, shape: 'safetensors', read: draw('spectra', { tensor: '.' }) },
  ];
};

const states: Seeds = async (folder) => {
  await useBackend('auto');
  const runtime = await openRuntime({ model: join(GOLDEN, 'models/resnet-cifar') });
  const source = new Source(runtime.model, runtime.weights, runtime.grafts, runtime.head!);
  return Promise.all(['tent', 'cotta', 'bn-adapt'].map(async (name) => {
    const method = await loadTta(name), path = join(folder, `${name}.safetensors`);
    const start = () => method.start(source, Object.fromEntries(Object.entries(method.options).map(([option, { default: value }]) => [option, value])), 0);
    const first = start();
    await writeState(path, name, first, { batches: 3, group: 'fog' });
    first.dispose();
    const read = (): Promise<void> => tidily(async () => {
      const adaptation = start();
      await readState(path, name, adaptation);
      adaptation.dispose();
    });
    return { path, bytes: readFileSync(path), shape: 'safetensors' as const, read };
  }));
};

const resumed: Seeds = async (folder) => {
  await useBackend('auto');
  const model = join(GOLDEN, 'models/bert-classify'), file = join(folder, 'lora.safetensors');
  await (await parsed(initAdapter, ['-m', model, '--method', 'lora', '--task', 'classify', '--labels', 'a,b', '-o', file]))();
  const open = async () => openRuntime({ model, grafts: [await readGraft(file)], trainable: true });
  const options = { kind: 'adamw' as const, weightDecay: 0, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, momentum: 0, nesterov: false };
  const step = (graft: Awaited<ReturnType<typeof open>>['grafts'][number], optimiser: Optimiser): void => scoped(() =>
    optimiser.step(new Map([...graft.trained].map(([name, variable]) => [name, { variable, decay: false, lrScale: 1 }])), new Map([...graft.trained].map(([name, v]) => [name, tf.onesLike(v)])), 0.1, 1));
  const runtime = await open(), optimiser = new Optimiser(options);
  step(runtime.grafts[0], optimiser);
  await saveCheckpoint(folder, 'run', runtime.grafts[0], optimiser, { progressed: { step: 1, best: { value: 0.5, step: 1 }, stale: 0 }, best: null });
  const path = join(folder, 'training.safetensors');
  const read = (): Promise<void> => tidily(async () => {
    const again = await open(), fresh = new Optimiser(options);
    await loadCheckpoint(folder, 'run', again.grafts[0], fresh);
    step(again.grafts[0], fresh);
    scoped(() => { again.logits(small({ input: 'text' })).dataSync(); });
    again.dispose();
    fresh.dispose();
  });
  return [{ path, bytes: readFileSync(path), shape: 'safetensors', read }];
};

/** Rows of every kind of data a model is trained and measured on. */
const rows: Seeds = async (folder) => {
  const schema = new Schema([new Field('image', new Binary(), false, new Map([['shape', '4,4,3']])), new Field('label', new Int64()), new Field('score', new Float64()), new Field('audio', new List(new Field('item', new Float32())))]);
  const bytes = await arrowBytes(schema, [0, 1].map((label) => ({ image: new Uint8Array(48), label, score: 0.5, audio: Float32Array.of(0, 0.5) })));
  return [{ path: join(folder, 'rows.arrow'), bytes, shape: 'bytes', read: readTable }];
};

/** Every reader of files there is, by name. */
export const READERS: Record<string, Seeds> = {
  safetensors: tensors, graft: grafts, 'peft-config': peft('adapter_config.json', 'json'), 'peft-weights': peft('adapter_model.safetensors', 'safetensors'),
  'model-config': models('config.json', 'json'), 'model-weights': models('model.safetensors', 'safetensors'), 'model-index': shards,
  tokenizer: tokenizer('tokenizer.json'), 'tokenizer-config': tokenizer('tokenizer_config.json'),
  arrow: tables(['stream.arrow', 'file.arrow']), rows, parquet: tables(['plain.parquet', 'none.parquet', 'snappy.parquet', 'gzip.parquet', 'brotli.parquet']), jsonl,
  'import-text': TEXTS, 'import-media': MEDIA, 'import-labels': LABELS, 'import-raw': RAW, 'import-columns': COLUMNS, pictures,
  predictions, plots, 'tta-state': states, 'train-resume': resumed,
};
