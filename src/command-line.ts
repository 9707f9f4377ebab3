import yargs, { type Argv } from 'yargs';
import type { Arguments, ChoiceOf, Command, Entry } from './commands/command.js';
import { usageError, type GraftError } from './errors.js';
import { helpText } from './help.js';
import { kebab, type OptionSpec, type OptionSpecs } from './options.js';
import { didYouMean, takenElsewhere, unknownOption } from './suggest.js';

/** A command's options parsed, with their descriptions, or its help text where that was asked for. @throws GraftError (usage) */
export async function parseCommandLine(command: Command, argv: string[]): Promise<{ args: Arguments; specs: OptionSpecs } | { help: string }> {
  const chosen = await chosenEntries(command, argv);
  if (argv.some((a) => a === '--help' || a === '-h')) return { help: await helpText(command, chosen) };
  const specs: OptionSpecs = Object.assign({}, ...chosen.map((e) => e.options), command.options);
  const parsed = await parse(command, specs, chosen, argv);
  const args: Arguments = { _: (parsed._ as unknown[]).map(String), commandLine: shellLine(['graft', command.name, ...withoutIncidentals(argv, specs)]) };
  for (const [name, spec] of Object.entries(specs)) args[name] = value(name, spec, parsed[name]);
  if (args._.length > 0 && !command.operands) throw usageError(`unexpected operand '${args._[0]}'; ${specs.data ? 'data are given with --data' : `graft ${command.name} --help shows the usage`}`);
  return { args, specs };
}

/** The registry entries the command line names, so that their own options can be parsed; `lenient` leaves out unknown ones. */
export async function chosenEntries(command: Command, argv: readonly string[], lenient = false): Promise<Entry[]> {
  const chosen: Entry[] = [];
  for (const choice of command.choices ?? []) {
    const names = await choice.names();
    const name = preview(command, choice, argv, names) ?? command.options[choice.option]?.default;
    if (name === undefined || name === null) continue;
    if (names.includes(String(name))) chosen.push(await choice.load(String(name)));
    else if (!lenient) throw usageError(`unknown ${kebab(choice.option)} '${String(name)}': one of ${names.join(', ')}${(await takenElsewhere(String(name))) || didYouMean(String(name), names)}`);
  }
  return chosen;
}

/** The value of a choice, found before the whole line can be parsed. */
function preview(command: Command, choice: ChoiceOf, argv: readonly string[], names: readonly string[]): string | undefined {
  if (choice.operand) {
    // The values of its own options are not told from operands before it is known.
    const words = argv.filter((a, i) => !a.startsWith('-') && !takesValue(argv[i - 1], command.options));
    return words.find((w) => names.includes(w)) ?? words[0];
  }
  const flag = `--${kebab(choice.option)}`;
  const alias = command.options[choice.option]?.alias;
  for (let i = argv.length - 1; i >= 0; i--) {
    if (argv[i] === flag || (alias && argv[i] === `-${alias}`)) return argv[i + 1];
    if (argv[i].startsWith(`${flag}=`)) return argv[i].slice(flag.length + 1);
  }
  return undefined;
}

/** The words by their options, as yargs takes them: values are texts, or truth values. @throws GraftError (usage) */
async function parse(command: Command, specs: OptionSpecs, chosen: readonly Entry[], argv: string[]): Promise<Record<string, unknown>> {
  try {
    return parserOf(specs, withDashes(argv, specs)).parseSync();
  } catch (error) {
    throw error instanceof Error && error.name === 'YError' ? await plainly(error.message, command, specs, chosen) : error;
  }
}

function parserOf(specs: OptionSpecs, argv: string[]): Argv {
  let parser = yargs(argv)
    .parserConfiguration({ 'greedy-arrays': false, 'boolean-negation': true, 'strip-aliased': true, 'dot-notation': false, 'parse-positional-numbers': false, 'duplicate-arguments-array': true })
    .help(false).version(false).exitProcess(false).strictOptions(true).locale('en')
    .fail((message, error) => { throw error ?? Object.assign(new Error(message), { name: 'YError' }); });
  for (const [name, spec] of Object.entries(specs)) {
    parser = parser.option(kebab(name), {
      type: spec.type === 'number' ? 'string' : spec.type, // read as text, so that '0x' or '' is refused and not taken for a number
      alias: spec.alias === kebab(name) ? undefined : spec.alias, array: spec.array, requiresArg: spec.type !== 'boolean',
      default: spec.default === null || spec.array ? undefined : spec.default,
    });
  }
  return parser;
}

/** What yargs says of a line it cannot read, in our words. */
async function plainly(message: string, command: Command, specs: OptionSpecs, chosen: readonly Entry[]): Promise<GraftError> {
  const [, unknown] = /^Unknown arguments?: ([^,]+)/.exec(message) ?? [], [, bare] = /arguments following: (\S+)/.exec(message) ?? [];
  if (unknown) return usageError(await unknownOption(unknown, command, specs, chosen));
  if (bare) return usageError(`${bare.length === 1 ? '-' : '--'}${bare} needs a value`);
  return usageError(`${message}; graft ${command.name} --help shows the options`);
}

/** Checks one value against its description. */
function value(name: string, spec: OptionSpec, raw: unknown): unknown {
  if (spec.required && raw === undefined) throw usageError(`--${kebab(name)} is missing: ${spec.describe}${spec.choices ? ` (${spec.choices.join(', ')})` : ''}`);
  // Numbers may stand together with commas between them.
  if (spec.array) return [raw].flat().filter((v) => v !== undefined).flatMap((v) => (spec.type === 'number' ? String(v).split(',') : [v])).map((v) => single(name, spec, v));
  return single(name, spec, Array.isArray(raw) ? raw.at(-1) : raw);
}

function single(name: string, spec: OptionSpec, raw: unknown): unknown {
  if (raw === undefined || raw === null) return undefined;
  const flag = `--${kebab(name)}`;
  if (spec.choices && !spec.choices.includes(String(raw))) throw usageError(`${flag} ${String(raw)}: one of ${spec.choices.join(', ')}${didYouMean(String(raw), spec.choices)}`);
  if (spec.type !== 'number') return raw;
  const number = typeof raw === 'string' && raw.trim() === '' ? NaN : Number(raw), whole = spec.metavar === 'N';
  if (!Number.isFinite(number) || (whole && !Number.isInteger(number))) throw usageError(`${flag} takes a ${whole ? 'whole ' : ''}number, not '${String(raw)}'`);
  const { min = -Infinity, max = Infinity } = spec;
  if (number < min || number > max) throw usageError(`${flag} ${number} is out of range: ${spec.max === undefined ? `at least ${min}` : spec.min === undefined ? `at most ${max}` : `${min} to ${max}`}`);
  return number;
}

/** `-g -`: yargs takes a lone dash for an option where a list is wanted. */
function withDashes(argv: string[], specs: OptionSpecs): string[] {
  const words: string[] = [];
  for (const word of argv) {
    if (word === '-' && takesValue(words.at(-1), specs)) words.push(`${words.pop()}=-`);
    else words.push(word);
  }
  return words;
}

/** Whether a word is an option whose value is the next word. */
function takesValue(word: string | undefined, specs: OptionSpecs): boolean {
  return Object.entries(specs).some(([name, o]) => o.type !== 'boolean' && (word === `--${kebab(name)}` || (o.alias !== undefined && word === `-${o.alias}`)));
}

/** The words without the options that change nothing in the result. */
function withoutIncidentals(argv: string[], specs: OptionSpecs): string[] {
  const kept: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const long = /^--(?:no-)?([^=]+)/.exec(argv[i])?.[1], short = /^-([a-zA-Z])/.exec(argv[i])?.[1];
    const spec = Object.entries(specs).find(([name, o]) => kebab(name) === long || (short !== undefined && o.alias === short))?.[1];
    if (!spec?.incidental) kept.push(argv[i]);
    else if (spec.type !== 'boolean' && (long ? !argv[i].includes('=') : argv[i].length === 2)) i++; // its value is the next word
  }
  return kept;
}

/** The words as a shell would need them written. */
function shellLine(words: string[]): string {
  return words.map((w) => (/^[\w@%+=:,./-]+$/.test(w) ? w : `'${w.replaceAll("'", `'\\''`)}'`)).join(' ');
}
