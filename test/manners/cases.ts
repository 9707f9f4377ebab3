import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LONG } from '../support/long.js';
import { jsonLines, must, scratch, tinyBert, tinyDecoder, tinyRows } from '../support/tiny.js';
import { arrow, images, tinyResnet } from '../tta/support.js';

export const GRAFT = fileURLToPath(new URL('../../../bin/graft.js', import.meta.url));

/** One way to run a subcommand that stands for how it reads and writes. */
export interface Case {
  name: string;
  /** Without `-o`. */
  args: string[];
  /** What standard input gets. */
  stdin?: Buffer;
  /** What it makes: a stream of bytes or of text, a directory, or text that goes to standard output only. */
  makes: 'binary' | 'text' | 'directory' | 'print';
  /** Standard input has no end that could be noticed: a table of lines. */
  lines?: boolean;
}

/** A case for every subcommand and every operation of `graft data`, over tiny files in `folder`. */
export async function cases(folder = scratch()): Promise<Case[]> {
  const at = (name: string): string => join(folder, name);
  const bert = tinyBert(folder);
  mkdirSync(at('pictures'));
  const resnet = tinyResnet(at('pictures'));
  mkdirSync(at('decoder'));
  const decoder = tinyDecoder(at('decoder'));
  const prompts = must(['convert', '--to', 'arrow', jsonLines(at('prompts.jsonl'), tinyRows(40, 2).map(({ text }) => ({ prompt: text })))]);
  const texts = jsonLines(at('texts.jsonl'), tinyRows(200, 1));
  const pictures = await arrow(images(64, 1).map((image, i) => ({ image, label: i % 4, domain: ['fog', 'snow'][i >> 5] })));
  writeFileSync(at('pictures.arrow'), pictures);
  const start = at('start.safetensors');
  must(['init-adapter', '-m', bert, '--task', 'classify', '--labels', 'no,yes', '-o', start]);
  const [graft, predictions, peft] = [readFileSync(start), at('predictions.arrow'), at('peft')];
  must(['eval', '-m', bert, '-g', start, '-d', texts, '--predictions', predictions]);
  must(['convert', '--to', 'peft', start, '-o', peft]);
  must(['train', '-m', bert, '-g', start, '-d', texts, '--steps', '3', '--log', at('log.jsonl'), '-o', '/dev/null']);
  const table = (operation: string, ...more: string[]): Case => ({ name: `data ${operation}`, args: ['data', operation, ...more], stdin: pictures, makes: 'binary' });
  return [
    { name: 'init-model', args: ['init-model', '-c', at('bert.json'), at('tokenizer.json')], makes: 'directory' },
    { name: 'init-adapter', args: ['init-adapter', '-m', bert, '--task', 'classify', '--labels-from', texts], makes: 'binary' },
    { name: 'svd-init', args: ['svd-init', '-m', bert, '--method', 'eva', '-d', texts], stdin: graft, makes: 'binary' },
    { name: 'train', args: ['train', '-m', bert, '-d', texts, '--steps', '4'], stdin: graft, makes: 'binary' },
    { name: 'merge into a model', args: ['merge', '-m', bert, '-g', '-'], stdin: graft, makes: 'directory' },
    { name: 'merge grafts', args: ['merge', '-g', start, '-g', '-'], stdin: graft, makes: 'binary' },
    { name: 'merge models', args: ['merge', bert, bert], makes: 'directory' },
    { name: 'tta', args: ['tta', '-m', resnet, '--batch-size', '16'], stdin: pictures, makes: 'binary' },
    { name: 'generate', args: ['generate', '-m', decoder, '--max-new', '4', '--batch-size', '8'], stdin: prompts, makes: 'binary' },
    { name: 'predict', args: ['predict', '-m', bert, '-g', start], stdin: must(['convert', '--to', 'arrow', texts]), makes: 'binary' },
    { name: 'eval with a model', args: ['eval', '-m', bert, '-g', start, '-d', texts], makes: 'text' },
    { name: 'eval of predictions', args: ['eval', '--metrics', 'accuracy'], stdin: readFileSync(predictions), makes: 'text' },
    { name: 'data import', args: ['data', 'import', '--format', 'csv'], stdin: Buffer.from(`text,label\n${tinyRows(300, 3).map((r) => `${r.text},${r.label}\n`).join('')}`), makes: 'binary', lines: true },
    table('head', '-n', '40'), table('tail', '-n', '40'), table('sample', '-n', '40'), table('shuffle'), table('select', '--where', 'label!=3'), table('concat'),
    table('stream', '--setting', 'continual'), table('corrupt', '--kind', 'gaussian_noise'),
    { name: 'data make', args: ['data', 'make', 'shapes10', '-n', '20'], makes: 'binary' },
    { name: 'plot', args: ['plot', 'curves', at('log.jsonl')], makes: 'text' },
    { name: 'inspect', args: ['inspect', '-'], stdin: graft, makes: 'print' },
    { name: 'methods', args: ['methods'], makes: 'print' },
    { name: 'completion', args: ['completion', 'bash'], makes: 'print' },
    { name: 'convert to arrow', args: ['convert', '--to', 'arrow'], stdin: pictures, makes: 'binary' },
    { name: 'convert to jsonl', args: ['convert', '--to', 'jsonl'], stdin: pictures, makes: 'text' },
    { name: 'convert to graft', args: ['convert', '--to', 'graft', '--dtype', 'bf16'], stdin: graft, makes: 'binary' },
    { name: 'convert to peft', args: ['convert', '--to', 'peft'], stdin: graft, makes: 'directory' },
    { name: 'convert a checkpoint', args: ['convert', '--to', 'safetensors', '--dtype', 'bf16', bert], makes: 'directory' },
  ];
}

const TELLING = ['train', 'tta', 'generate', 'merge into a model', 'merge grafts', 'data select', 'data shuffle', 'eval of predictions', 'plot', 'methods', 'convert to peft'];

/** All cases in the long version, otherwise one for each way in which they write: for what they share. */
export const telling = (all: readonly Case[]): Case[] => all.filter((c) => LONG || TELLING.includes(c.name));

export interface Ended { status: number | null; signal: NodeJS.Signals | null; stdout: Buffer; stderr: string }

/** Runs a program to its end. @param options.open standard input does not end after `input` @param options.then what to do with it once it runs */
export function run(program: string, args: readonly string[], options: { input?: Buffer; open?: boolean; env?: NodeJS.ProcessEnv; stdout?: number; then?: (child: ChildProcess) => void } = {}): Promise<Ended> {
  const child = spawn(program, args, { stdio: ['pipe', options.stdout ?? 'pipe', 'pipe'], env: { ...process.env, ...options.env } });
  const out: Buffer[] = [], said: Buffer[] = [];
  child.stdout?.on('data', (b: Buffer) => out.push(b)).on('error', () => undefined);
  child.stderr!.on('data', (b: Buffer) => said.push(b));
  child.stdin!.on('error', () => undefined).write(options.input ?? Buffer.alloc(0));
  if (!options.open) child.stdin!.end();
  options.then?.(child);
  return new Promise((resolve) => child.once('close', (status, signal) => resolve({ status, signal, stdout: Buffer.concat(out), stderr: Buffer.concat(said).toString() })));
}

/** Progress of a run that a busy machine keeps for more than ten seconds. */
const PROGRESS = /^[\w-]+: \d+(\/\d+)? \w+, \S+\/s, .*\n/gm;

export async function graftRun(args: readonly string[], options: Parameters<typeof run>[2] = {}): Promise<Ended> {
  const ended = await run(process.execPath, [GRAFT, ...args], options);
  return args.includes('--progress') ? ended : { ...ended, stderr: ended.stderr.replace(PROGRESS, '') };
}

/** Runs a command line on a terminal of its own. @returns what the terminal was sent, and the status */
export function onTerminal(line: string, env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return run('script', ['-qec', line, '/dev/null'], { env: { TERM: 'xterm', ...env } });
}

/** Words as a shell takes them. */
export const shell = (words: readonly string[]): string => words.map((w) => `'${w.replaceAll("'", `'\\''`)}'`).join(' ');

/** Runs something for all items, a few at a time. */
export async function each<T>(items: readonly T[], action: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  await Promise.all([0, 1].map(async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await action(item);
  }));
}
