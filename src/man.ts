import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Command } from './commands/command.js';
import { commandSummaries, loadCommand } from './commands/registry.js';
import { kebab, type OptionSpec, type OptionSpecs } from './options.js';

/** The manual pages, by file name, from the same definitions the parser uses. */
export async function manualPages(): Promise<Map<string, string>> {
  const pages = new Map([['graft.1', overview()]]);
  for (const [name] of commandSummaries()) pages.set(`graft-${name}.1`, await page((await loadCommand(name))!));
  return pages;
}

async function page(command: Command): Promise<string> {
  const own = await Promise.all((command.choices ?? []).map(async (c) => ({ choice: c, entries: await Promise.all((await c.names()).map((n) => c.load(n))) })));
  return [
    head(`graft-${command.name}`, command.summary),
    '.SH SYNOPSIS', `.B graft ${text(command.name)}`, `[\\fIOPTION\\fR]...${command.operands ? ` ${text(command.operands.usage)}` : ''}`,
    '.SH DESCRIPTION', ...command.description.flatMap((p) => ['.PP', text(p)]),
    ...(command.operands ? ['.PP', text(command.operands.describe)] : []),
    '.SH OPTIONS', ...options(command.options), ...option('help', { type: 'boolean', alias: 'h', describe: 'print the usage and exit' }),
    ...own.flatMap(({ choice, entries }) => entries.flatMap((e) => [
      `.SS ${text(choice.operand ? e.name : `--${kebab(choice.option)} ${e.name}`)}`, text(e.summary), ...options(e.options),
    ])),
    ...(command.notes ?? []).flatMap(({ title, items }) => [`.SH ${title}`, ...items.flatMap((i) => (i.term ? ['.TP', `.B ${text(i.term)}`, text(i.text)] : ['.PP', text(i.text)]))]),
    '.SH EXIT STATUS', text(STATUS),
    '.SH EXAMPLES', ...command.examples.flatMap(({ does, command: line }) => ['.PP', text(`${does}:`), '.PP', '.RS 4', '.nf', text(line), '.fi', '.RE']),
    '.SH SEE ALSO', '.BR graft (1)', '',
  ].join('\n');
}

const STATUS = '0 done; 1 the run failed; 64 the command line is wrong; 65 the data is wrong; 66 an input is not there; 74 reading or writing failed; 129, 130 or 143 ended by a signal.';

function overview(): string {
  return [
    head('graft', 'adapt pretrained models from the shell'),
    '.SH SYNOPSIS', '.B graft', '\\fICOMMAND\\fR [\\fIOPTION\\fR]... [\\fIFILE\\fR]...',
    '.SH DESCRIPTION', text('A graft is a small trained change to a large frozen model. Every command is a filter: it reads files or standard input, writes files or standard output, and does one thing, so that commands chain with pipes, make and cron.'),
    '.PP', text('Models are Hugging Face checkpoints, grafts single safetensors files (PEFT directories are read too), data and predictions Arrow. The same inputs and seed give the same bytes.'),
    '.SH COMMANDS', ...commandSummaries().flatMap(([name, summary]) => ['.TP', `.BR graft-${text(name)} (1)`, text(summary)]),
    ...MANNERS.flatMap(([title, paragraphs]) => [`.SH ${title}`, ...paragraphs.flatMap((p) => ['.PP', text(p)])]),
    '.SH EXIT STATUS', text(STATUS),
    '.SH ENVIRONMENT', ...ENVIRONMENT.flatMap(([name, means]) => ['.TP', `.B ${name}`, text(means)]),
    '.SH EXAMPLES', ...EXAMPLES.flatMap(({ does, lines }) => ['.PP', text(`${does}:`), '.PP', '.RS 4', '.nf', ...lines.map(text), '.fi', '.RE']), '',
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
  ['GRAFT_DEBUG', 'when set, errors show where they were raised'],
  ['TERM', 'where it is dumb, progress is told in lines'],
];

const EXAMPLES = [
  { does: 'A rule of a Makefile that knows every file of the checkpoint; -include $(wildcard *.d) at its end', lines: ['topic.safetensors: start.safetensors train.arrow', '\tgraft train -m bert -g start.safetensors -d train.arrow -o $@ --deps $@.d'] },
  { does: 'A line of a crontab', lines: ['30 2 * * *  cd /srv/shop && graft tta -m resnet/ --state tent.safetensors --wait 3600 -d inbox/today.arrow -o predictions/$(date +\\%F).arrow'] },
];

const head = (name: string, summary: string): string => `.TH ${name.toUpperCase()} 1 "" "graft" "User Commands"\n.SH NAME\n${text(name)} \\- ${text(summary)}`;

const options = (specs: OptionSpecs): string[] => Object.entries(specs).flatMap(([name, spec]) => option(name, spec));

function option(name: string, spec: OptionSpec): string[] {
  const value = spec.type === 'boolean' ? '' : ` \\fI${text(spec.choices?.join('|') ?? spec.metavar ?? (spec.type === 'number' ? 'N' : 'TEXT'))}\\fR`;
  const flags = `${spec.alias ? `\\fB\\-${spec.alias}\\fR, ` : ''}\\fB\\-\\-${text(kebab(name))}\\fR${value}`;
  const fallback = spec.default === undefined || spec.default === null || spec.default === '' || spec.default === false ? '' : ` (default ${String(spec.default)})`;
  return ['.TP', flags, text(`${spec.describe}${spec.array ? '; repeatable' : ''}${fallback}`)];
}

/** Escapes what troff would take for its own. */
const text = (s: string): string => s.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll("'", '\\(aq').replace(/^\./gm, '\\&.');

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const directory = process.argv[2] ?? 'man';
  mkdirSync(directory, { recursive: true });
  for (const [name, page] of await manualPages()) writeFileSync(join(directory, name), page);
}
