import { chosenEntries } from './command-line.js';
import type { ChoiceOf, Command } from './commands/command.js';
import { commandSummaries, loadCommand } from './commands/registry.js';
import { kebab, type OptionSpec, type OptionSpecs } from './options.js';

/** What may stand where the cursor is; `files` where a path may. */
export interface Completion { candidates: Candidate[]; files: boolean }
export interface Candidate { word: string; describe: string }

/** Names graft reads columns by, offered to --columns. */
const KNOWN_COLUMNS = ['text', 'text_pair', 'label', 'tokens', 'tags', 'prompt', 'response', 'source', 'target', 'image', 'mask', 'audio', 'query', 'document', 'relevance', 'domain', 'task'];

const nothing: Completion = { candidates: [], files: false };
const onlyFiles: Completion = { candidates: [], files: true };
const words = (names: readonly string[]): Completion => ({ candidates: names.map((word) => ({ word, describe: '' })), files: false });

/**
 * Completes a command line, from the definitions the parser and the manual pages use.
 * @param line the words after `graft`, the last being the one under the cursor, perhaps empty
 */
export async function complete(line: readonly string[]): Promise<Completion> {
  const current = line.at(-1) ?? '';
  const found = await candidatesFor(line.slice(0, -1), current);
  return { ...found, candidates: found.candidates.filter((c) => c.word.startsWith(current)) };
}

async function candidatesFor(before: readonly string[], current: string): Promise<Completion> {
  const commands = commandSummaries().map(([word, describe]) => ({ word, describe }));
  if (before.length === 0) return { candidates: [...commands, { word: 'help', describe: 'print the commands, or the options of one' }, ...(current ? GENERAL : [])], files: false };
  if (before[0] === 'help') return before.length === 1 ? { candidates: commands, files: false } : nothing;
  const command = await loadCommand(before[0]);
  if (!command) return nothing;
  const argv = before.slice(1);
  const specs: OptionSpecs = Object.assign({}, ...(await chosenEntries(command, argv, true)).map((e) => e.options), command.options);
  const pending = valueAwaited(argv, specs);
  if (pending) return values(command, pending, specs[pending], argv, current, '');
  const assigned = /^--([^=]+)=/.exec(current);
  if (assigned) {
    const name = Object.keys(specs).find((n) => kebab(n) === assigned[1]);
    return name ? values(command, name, specs[name], argv, current.slice(assigned[0].length), assigned[0]) : nothing;
  }
  if (current.startsWith('-')) return { candidates: flags(specs), files: false };
  return operand(command, argv, specs);
}

const GENERAL: Candidate[] = [{ word: '--help', describe: 'print the commands' }, { word: '--version', describe: 'print the version and what computes' }];

function flags(specs: OptionSpecs): Candidate[] {
  const own = Object.entries(specs).flatMap(([name, { describe, type, default: on }]) =>
    [{ word: `${name.length > 1 ? '--' : '-'}${kebab(name)}`, describe }, ...(type === 'boolean' && on === true ? [{ word: `--no-${kebab(name)}`, describe: `not: ${describe}` }] : [])]);
  return [...own, { word: '--help', describe: 'print the usage and exit' }];
}

const specOf = (word: string, specs: OptionSpecs): string | undefined =>
  Object.keys(specs).find((n) => word === `--${kebab(n)}` || (specs[n].alias !== undefined && word === `-${specs[n].alias}`));

/** The option whose value comes next. */
function valueAwaited(argv: readonly string[], specs: OptionSpecs): string | undefined {
  const name = argv.length > 0 ? specOf(argv[argv.length - 1], specs) : undefined;
  return name !== undefined && specs[name].type !== 'boolean' ? name : undefined;
}

/** The words that are neither options nor their values. */
function operandsIn(argv: readonly string[], specs: OptionSpecs): string[] {
  return argv.filter((word, i) => !(word.startsWith('-') && word !== '-') && !valueAwaited(argv.slice(0, i), specs));
}

async function operand(command: Command, argv: readonly string[], specs: OptionSpecs): Promise<Completion> {
  if (!command.operands) return { candidates: flags(specs), files: false };
  const choice = command.choices?.find((c) => c.operand);
  const first = operandsIn(argv, specs).length === 0;
  if (choice && first) return { candidates: await entriesOf(choice), files: false };
  if (command.operands.suggest) return first ? words(await command.operands.suggest()) : nothing;
  return onlyFiles;
}

const entriesOf = async (choice: ChoiceOf): Promise<Candidate[]> => Promise.all((await choice.names()).map(async (name) => ({ word: name, describe: (await choice.load(name)).summary })));

/** @param prefix what stands before the value in the same word: `--name=` */
async function values(command: Command, name: string, spec: OptionSpec, argv: readonly string[], typed: string, prefix: string): Promise<Completion> {
  const choice = command.choices?.find((c) => !c.operand && c.option === name);
  const given = choice ? await entriesOf(choice)
    : (await suggestions(spec, typed, () => columnsOf(command, argv)))?.map((word) => ({ word, describe: '' }));
  if (given) return { candidates: given.map((c) => ({ ...c, word: prefix + c.word })), files: false };
  return /^(FILE|DIR|PATH)$/.test(spec.metavar ?? '') ? onlyFiles : nothing;
}

/** The values an option may take, where they are known; of a list what is typed, up to its last comma, and one more. */
async function suggestions(spec: OptionSpec, typed: string, columns: () => Promise<string[]>): Promise<readonly string[] | null> {
  if (spec.choices) return spec.choices;
  const done = typed.slice(0, typed.lastIndexOf(',') + 1);
  const list = async (names: readonly string[]): Promise<string[]> => names.filter((n) => !done.split(',').includes(n)).map((n) => done + n);
  switch (spec.metavar) {
    case 'COLUMN': return columns();
    case 'COLUMN=VALUE': return (await columns()).map((c) => `${c}=`);
    case 'COLUMN,...': return list(await columns());
    case 'NEW=OLD,...': {
      const [, fresh] = /^([^=]*=)/.exec(typed.slice(done.length)) ?? [];
      return fresh === undefined ? list(KNOWN_COLUMNS.map((c) => `${c}=`)) : (await columns()).map((c) => done + fresh + c);
    }
    default: return spec.suggest ? list(await spec.suggest()) : null;
  }
}

/** The columns of the data the line names: with --data, or as an operand. */
async function columnsOf(command: Command, argv: readonly string[]): Promise<string[]> {
  const specs = command.options;
  const given = argv.find((_, i) => valueAwaited(argv.slice(0, i), specs) === 'data') ?? argv.map((w) => /^--data=(.+)/.exec(w)?.[1]).find((w) => w !== undefined);
  const paths = given === undefined ? operandsIn(argv, specs) : [given];
  const { openTable } = await import('./formats/table.js');
  for (const path of paths.filter((p) => p !== '-')) {
    try {
      return (await openTable(path)).columns;
    } catch {
      // An operand that is no table: the next one may be.
    }
  }
  return [];
}

/**
 * What the scripts of `graft completion` read: a candidate a line, after a tab what it means (bash shows none), and a last
 * line `:files` where the shell should offer paths.
 * @param line as the shell splits it: bash breaks words at `=` and replaces what follows it
 */
export async function completionLines(shell: string, line: readonly string[]): Promise<string> {
  const bash = shell === 'bash';
  const joined = (bash ? rejoin(line) : line).map(unquoted);
  const { candidates, files } = await complete(joined);
  const cut = bash ? joined.at(-1)!.lastIndexOf('=') + 1 : 0;
  const lines = candidates.map(({ word, describe }) => (bash ? word.slice(cut) : `${word}\t${describe.replaceAll('\n', ' ')}`));
  return [...lines, ...(files ? [':files'] : [])].map((l) => `${l}\n`).join('');
}

function rejoin(line: readonly string[]): string[] {
  const out: string[] = [];
  line.forEach((word, i) => {
    if (out.length > 0 && (word === '=' || line[i - 1] === '=')) out[out.length - 1] += word;
    else out.push(word);
  });
  return out;
}

/** A word as the program would get it. */
const unquoted = (word: string): string => word.replace(/^~(?=\/)/, process.env.HOME ?? '~').replace(/^["']|["']$/g, '').replace(/\\(.)/g, '$1');
