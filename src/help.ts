import type { ChoiceOf, Command, Entry } from './commands/command.js';
import { optionUsage, type OptionSpec, type OptionSpecs } from './options.js';
import { wrap } from './prose.js';

/** The widest line. */
const WIDTH = 96;
/** Where what an option does begins; longer flags have a line of their own. */
const COLUMN = 30;

/**
 * The text of `graft COMMAND --help`, from the definitions the parser and the manual pages use.
 * @param chosen the registry entries the command line names (a method, an operation): their options come first
 */
export async function helpText(command: Command, chosen: readonly Entry[]): Promise<string> {
  const operation = command.choices?.find((c) => c.operand);
  const verb = operation && chosen[0]; // where the choice is an operand, it is the only one
  return [
    ...usage(command, verb), '',
    ...chosen.flatMap((entry) => ownOptions(entry, command.options)),
    ...(operation && !verb ? [`${operation.option.toUpperCase()} is one of`, ...await listed(operation), ''] : []),
    'Options:', ...await optionLines(command), ...optionLine('help', { type: 'boolean', alias: 'h', describe: 'print this and exit' }),
    ...examples(command, verb),
    '',
  ].join('\n');
}

function usage(command: Command, verb: Entry | undefined): string[] {
  const operands = (verb ?? command).operands, named = typeof operands === 'object' ? operands.usage : operands;
  const paragraphs = verb ? [`${verb.name}: ${verb.summary}.`] : command.description;
  return [`Usage: graft ${command.name}${verb ? ` ${verb.name}` : ''} [OPTION]...${named ? ` ${named}` : ''}`, ...paragraphs.flatMap((p) => ['', ...wrap(p, WIDTH)])];
}

function ownOptions({ name, options }: Entry, common: OptionSpecs): string[] {
  const own = Object.entries(options).filter(([option]) => !(option in common));
  return own.length > 0 ? [`Options of ${name}:`, ...own.flatMap(([option, spec]) => optionLine(option, spec)), ''] : [];
}

async function optionLines({ options, choices = [] }: Command): Promise<string[]> {
  const lines = await Promise.all(Object.entries(options).map(async ([name, spec]) => {
    const choice = choices.find((c) => !c.operand && c.option === name);
    return optionLine(name, spec, choice && `: ${(await choice.names()).join(', ')}`);
  }));
  return lines.flat();
}

/** @param values what may be given, where a registry knows it */
function optionLine(name: string, spec: OptionSpec, values = ''): string[] {
  const { flags, value, text } = optionUsage(name, spec);
  return columns(`${flags[0].length > 2 ? '    ' : ''}${flags.join(', ')}${value ? ` ${value}` : ''}`, text + values);
}

const listed = async (choice: ChoiceOf): Promise<string[]> =>
  (await Promise.all((await choice.names()).map((n) => choice.load(n)))).flatMap(({ name, summary }) => columns(name, summary));

function columns(left: string, right: string): string[] {
  const lines = wrap(right, WIDTH, COLUMN), head = `  ${left}`;
  return head.length <= COLUMN - 2 ? [head.padEnd(COLUMN) + lines[0].slice(COLUMN), ...lines.slice(1)] : [head, ...lines];
}

/** Those that show the operation asked for, if there are any. */
function examples(command: Command, verb: Entry | undefined): string[] {
  const own = command.examples.filter((e) => !verb || e.command.includes(`graft ${command.name} ${verb.name}`));
  return own.length > 0 ? ['', 'Examples:', ...own.flatMap(({ does, command: line }) => [`  # ${does}`, `  ${line.replace(/ (\||&&) (?=graft )/g, ' $1\n    ')}`])] : [];
}
