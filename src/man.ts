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

const STATUS = '0 done; 1 the run failed; 64 the command line is wrong; 65 the data is wrong; 66 an input is not there; 74 reading or writing failed; 130 or 143 ended by a signal.';

function overview(): string {
  return [
    head('graft', 'adapt pretrained models from the shell'),
    '.SH SYNOPSIS', '.B graft', '\\fICOMMAND\\fR [\\fIOPTION\\fR]... [\\fIFILE\\fR]...',
    '.SH DESCRIPTION', text('A graft is a small trained change to a large frozen model. Every command is a filter: it reads files or standard input, writes files or standard output, and does one thing, so that commands chain with pipes, make and cron.'),
    '.PP', text('Models are Hugging Face checkpoints, grafts single safetensors files (PEFT directories are read too), data and predictions Arrow. Files are written beside their name and renamed when whole. The same inputs and seed give the same bytes.'),
    '.SH COMMANDS', ...commandSummaries().flatMap(([name, summary]) => ['.TP', `.BR graft-${text(name)} (1)`, text(summary)]),
    '.SH EXIT STATUS', text(STATUS),
    '.SH ENVIRONMENT', '.TP', '.B GRAFT_DEBUG', text('when set, errors show where they were raised'), '',
  ].join('\n');
}

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
