import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Command, Entry, Example } from './commands/command.js';
import { commandSummaries, loadCommand } from './commands/registry.js';
import { kebab, optionUsage, type OptionSpec, type OptionSpecs } from './options.js';
import { cite, wrap } from './prose.js';

/** The manual pages, by file name, from the same definitions the parser uses. */
export async function manualPages(): Promise<Map<string, string>> {
  const pages = new Map([['graft.1', overview()]]);
  for (const [name] of commandSummaries()) pages.set(`graft-${name}.1`, await page((await loadCommand(name))!));
  return pages;
}

async function page(command: Command): Promise<string> {
  const own = await Promise.all((command.choices ?? []).map(async (c) => ({ choice: c, entries: await Promise.all((await c.names()).map((n) => c.load(n))) })));
  return [
    ...head(`graft-${command.name}`, command.summary),
    '.SH SYNOPSIS', `.B graft ${text(command.name)}`, `[\\fIOPTION\\fR]...${command.operands ? ` ${text(command.operands.usage)}` : ''}`,
    '.SH DESCRIPTION', ...paragraphs([...command.description, ...(command.operands ? [operands(command.operands)] : [])]),
    '.SH OPTIONS', ...options(command.options), ...option('help', { type: 'boolean', alias: 'h', describe: 'print the usage and exit' }),
    ...own.flatMap(({ choice, entries }) => entries.flatMap((e) => entry(choice.operand ? `${e.name}${e.operands ? ` ${e.operands}` : ''}` : `--${kebab(choice.option)} ${e.name}`, e))),
    ...(command.notes ?? []).flatMap(({ title, items }) => [`.SH ${title}`, ...items.flatMap((i, n) => [...(i.term ? ['.TP', `.B ${text(i.term)}`] : n > 0 ? ['.PP'] : []), ...lines(i.text)])]),
    ...STATUS, ...examples(command.examples),
    '.SH SEE ALSO', '.BR graft (1)', '',
  ].join('\n');
}

const operands = ({ usage, describe }: { usage: string; describe: string }): string => (/[a-z]/.test(describe[0]) ? `${usage}: ${describe}.` : describe);

const entry = (title: string, { summary, options: own, paper }: Entry): string[] =>
  [`.SS ${text(title)}`, ...lines(summary), ...options(own), ...(paper ? ['.PP', ...lines(cite(paper))] : [])];

const STATUSES: [string, string][] = [
  ['0', 'done'], ['1', 'the run failed'], ['64', 'the command line is wrong'], ['65', 'the data is wrong'], ['66', 'an input is not there'],
  ['74', 'reading or writing failed'], ['129, 130, 143', 'ended by SIGHUP, SIGINT or SIGTERM'],
];
const STATUS = ['.SH EXIT STATUS', ...STATUSES.flatMap(([status, means]) => ['.TP', `.B ${status}`, means])];

/** What graft(1) shows: a graft from data to a model of its own, and a model that adapts to a stream. */
export const TOUR: Example[] = [
  { does: 'A LoRA for a frozen encoder, started from the data and trained on it', command: 'graft init-adapter -m minilm/ --task classify --labels-from train.arrow | graft svd-init -m minilm/ --method eva -d train.arrow | graft train -m minilm/ -d train.arrow -o topic.safetensors' },
  { does: 'Measured, and folded into a model of its own', command: 'graft eval -m minilm/ -g topic.safetensors -d test.arrow && graft merge -m minilm/ -g topic.safetensors -o minilm-topic/' },
  { does: 'A model that adapts to fog while it predicts', command: 'graft data corrupt --kind fog images.arrow | graft tta -m resnet/ | graft eval --metrics error' },
];

function overview(): string {
  return [
    ...head('graft', 'adapt pretrained models from the shell'),
    '.SH SYNOPSIS', '.B graft', '\\fICOMMAND\\fR [\\fIOPTION\\fR]... [\\fIFILE\\fR]...',
    '.SH DESCRIPTION', ...paragraphs([
      'A graft is a small trained change to a large frozen model. Every command is a filter: it reads files or standard input, writes files or standard output, and does one thing, so that commands chain with pipes, make and cron.',
      'Models are Hugging Face checkpoints, grafts single safetensors files (PEFT directories are read too), data and predictions Arrow. The same inputs and seed give the same bytes.',
    ]),
    '.SH COMMANDS', ...commandSummaries().flatMap(([name, summary]) => ['.TP', `.BR graft\\-${text(name)} (1)`, text(summary)]),
    '.SH OPTIONS', ...option('help', { type: 'boolean', alias: 'h', describe: 'print the commands, or after a command its options' }),
    ...option('version', { type: 'boolean', alias: 'V', describe: 'print the version, the backend, the instruction set it chose and the GPU' }),
    ...MANNERS.flatMap(([title, all]) => [`.SH ${title}`, ...paragraphs(all)]),
    ...STATUS,
    '.SH ENVIRONMENT', ...ENVIRONMENT.flatMap(([name, means]) => ['.TP', `.B ${name}`, ...lines(means)]),
    ...examples(TOUR), ...ELSEWHERE.flatMap(({ does, lines: all }) => ['.PP', ...lines(`${does}:`), '.PP', '.RS 4', '.EX', ...all.map(text), '.EE', '.RE']),
    '.SH SEE ALSO', ...commandSummaries().map(([name], i, all) => `.BR graft\\-${text(name)} (1)${i < all.length - 1 ? ' ,' : ''}`), '',
  ].join('\n');
}

const MANNERS: [string, string[]][] = [
  ['STREAMS', [
    '- or no FILE is standard input, - or no --output standard output. Tables are read and written batch by batch, so that a stream may be longer than memory; operations that need every row at once say so. graft tta writes the predictions of a batch before it reads the next.',
    'A reader that goes away ends a run quietly with status 0. An input that is empty or cut short is an error (65), never an empty result. Binary data is not written to a terminal.',
  ]],
  ['FILES', [
    'An output is whole or not there: it is written as .NAME.PID-N.tmp beside NAME, brought to the disk and renamed; a directory that is there already is exchanged with the new one in one step. A run that fails, is ended by a signal or finds the disk full leaves nothing behind and an older output as it was. What a run that was killed left there is removed by the next run that writes NAME. Two runs that write NAME at once do not mix: the last one stays.',
    '--log alone is written in place, a line at a time. A run locks its --state (.NAME.lock beside it) or its --checkpoint; the lock of a process that died counts no more. --wait says how long another run waits.',
  ]],
  ['PROGRESS', [
    'Progress goes to standard error: on a terminal a bar with rate, remaining time and loss, elsewhere a line every ten seconds, and nothing of a run that takes less. --quiet shows none, and no warnings. There are no colours, with NO_COLOR or without.',
  ]],
];

const ENVIRONMENT: [string, string][] = [
  ['GRAFT_ADDON', 'the native backend\'s file, instead of the one that was built or came along; none: do without'],
  ['GRAFT_BACKEND', 'what --backend auto stands for; without it a GPU that graft-cuda can use, else one that TensorFlow\'s package can use where it is installed, else the processor. graft --version says what it is here, and why'],
  ['CUDA_HOME, VIRTUAL_ENV, CONDA_PREFIX', 'where NVRTC, NVIDIA\'s compiler, is looked for with --backend cuda besides the system\'s own places: a CUDA toolkit, or an environment with the Python package nvidia-cuda-nvrtc; packages of every python3 on PATH are found as they are'],
  ['GRAFT_CUDA', 'a folder in which NVIDIA\'s libraries are looked for first'],
  ['GRAFT_DEBUG', 'when set, errors show where they were raised'],
  ['GRAFT_ISA', 'base or avx2: a lesser instruction set than the best one of this processor'],
  ['GRAFT_MEMORY', 'MiB that tensors may take on the CPU; a run that needs more ends with an error that says what lowers it. Default: the memory of the machine, or what its control group leaves of it'],
  ['GRAFT_TENSORFLOW', 'the folder in which @tensorflow/tfjs-node-gpu or @tensorflow/tfjs-node was installed, for --backend tensorflow; without it they are looked for where graft is installed'],
  ['TERM', 'where it is dumb, progress is told in lines'],
  ['XDG_CACHE_HOME', 'where kernels compiled for a GPU are kept, in graft/cuda; ~/.cache where it is not set'],
];

/** For other programs than a shell: fixtures/examples, run by test/manners/examples.test.ts. */
const ELSEWHERE = [
  { does: 'A rule of a Makefile that knows every file of the checkpoint; -include $(wildcard *.d) at its end', lines: ['topic.safetensors: start.safetensors train.arrow', '\tgraft train -m minilm -g start.safetensors -d train.arrow -o $@ --deps $@.d'] },
  { does: 'A line of a crontab', lines: ['30 2 * * *  cd /srv/shop && graft tta -q -m resnet/ --state tent.safetensors --wait 3600 -d inbox/today.arrow -o predictions/$(date +\\%F).arrow'] },
];

const head = (name: string, summary: string): string[] => [`.TH ${name.toUpperCase()} 1 "" "graft" "User Commands"`, '.SH NAME', `${text(name)} \\- ${text(summary)}`];

const paragraphs = (all: readonly string[]): string[] => all.flatMap((p, i) => [...(i > 0 ? ['.PP'] : []), ...lines(p)]);

const examples = (all: readonly Example[]): string[] =>
  ['.SH EXAMPLES', ...all.flatMap(({ does, command }, i) => [...(i > 0 ? ['.PP'] : []), ...lines(`${does}:`), '.PP', '.RS 4', '.EX', text(broken(command)), '.EE', '.RE'])];

/** One program of a pipeline a line. */
const broken = (command: string): string => (command.length <= 72 ? command : command.replace(/ (\||&&) (?=graft )/g, ' $1\n  '));

const options = (specs: OptionSpecs): string[] => Object.entries(specs).flatMap(([name, spec]) => option(name, spec));

function option(name: string, spec: OptionSpec): string[] {
  const { flags, value, text: says } = optionUsage(name, spec);
  return ['.TP', `${flags.map((f) => `\\fB${text(f)}\\fR`).join(', ')}${value ? ` \\fI${text(value)}\\fR` : ''}`, ...lines(says)];
}

/** Escaped text in lines that are easy to compare. */
const lines = (s: string): string[] => wrap(s, 72).map(text);

/** Escapes what troff would take for its own. */
const text = (s: string): string => s.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll("'", '\\(aq').replace(/^\./gm, '\\&.');

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const directory = process.argv[2] ?? 'man';
  mkdirSync(directory, { recursive: true });
  for (const [name, page] of await manualPages()) writeFileSync(join(directory, name), page);
}
