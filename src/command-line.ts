import yargs, { type Argv } from 'yargs';
import type { Arguments, ChoiceOf, Command, Entry } from './commands/command.js';
import { usageError } from './errors.js';
import { kebab, type OptionSpec, type OptionSpecs } from './options.js';

/** A command's options parsed, with their descriptions, or its help text where that was asked for. @throws GraftError (usage) */
export async function parseCommandLine(command: Command, argv: string[]): Promise<{ args: Arguments; specs: OptionSpecs } | { help: string }> {
  const helps = argv.some((a) => a === '--help' || a === '-h');
  const chosen = await chosenEntries(command, argv, helps);
  const specs: OptionSpecs = Object.assign({}, ...chosen.map((e) => e.options), command.options);
  const parser = describe(command, specs, chosen, withDashes(argv, specs));
  if (helps) return { help: `${await parser.getHelp()}\n` };
  const parsed = parser.parseSync() as Record<string, unknown>;
  const args: Arguments = { _: (parsed._ as unknown[]).map(String), commandLine: shellLine(['graft', command.name, ...withoutIncidentals(argv, specs)]) };
  for (const [name, spec] of Object.entries(specs)) args[name] = value(name, spec, parsed[name]);
  if (args._.length > 0 && !command.operands) throw usageError(`unexpected operand '${args._[0]}'; graft ${command.name} --help shows the usage`);
  return { args, specs };
}

/** The registry entries the command line names, so that their own options can be parsed; `lenient` leaves out unknown ones. */
export async function chosenEntries(command: Command, argv: readonly string[], lenient: boolean): Promise<Entry[]> {
  const chosen: Entry[] = [];
  for (const choice of command.choices ?? []) {
    const name = preview(command, choice, argv) ?? command.options[choice.option]?.default;
    if (name === undefined || name === null) continue;
    const names = await choice.names();
    if (names.includes(String(name))) chosen.push(await choice.load(String(name)));
    else if (!lenient) throw usageError(`unknown ${kebab(choice.option)} '${String(name)}': one of ${names.join(', ')}${await takenElsewhere(String(name))}`);
  }
  return chosen;
}

/** Where a method goes that this command does not take: pissa is one of svd-init. */
async function takenElsewhere(name: string): Promise<string> {
  const others = (await (await import('./catalogue.js')).listMethods()).filter((m) => m.name === name).map((m) => `graft ${m.command} --${m.option} ${name}`);
  return others.length > 0 ? `; there is ${others.join(', ')}` : '';
}

/** The value of a choice, found before the whole line can be parsed. */
function preview(command: Command, choice: ChoiceOf, argv: readonly string[]): string | undefined {
  if (choice.operand) return argv.find((a) => !a.startsWith('-'));
  const flag = `--${kebab(choice.option)}`;
  const alias = command.options[choice.option]?.alias;
  for (let i = argv.length - 1; i >= 0; i--) {
    if (argv[i] === flag || (alias && argv[i] === `-${alias}`)) return argv[i + 1];
    if (argv[i].startsWith(`${flag}=`)) return argv[i].slice(flag.length + 1);
  }
  return undefined;
}

function describe(command: Command, specs: OptionSpecs, chosen: Entry[], argv: string[]): Argv {
  const operands = command.operands ? ` ${command.operands.usage}` : '';
  let parser = yargs(argv)
    .scriptName(`graft ${command.name}`)
    .usage([`Usage: graft ${command.name} [OPTION]...${operands}`, ...command.description].join('\n\n'))
    .parserConfiguration({ 'greedy-arrays': false, 'boolean-negation': true, 'strip-aliased': true, 'dot-notation': false, 'parse-positional-numbers': false, 'duplicate-arguments-array': true })
    .help(false).version(false).exitProcess(false).strictOptions(true).locale('en').wrap(96)
    .fail((message, error) => { throw error && error.name !== 'YError' ? error : usageError(`${message ?? error!.message}; graft ${command.name} --help shows the options`); });
  for (const [name, spec] of Object.entries(specs)) {
    const owner = chosen.find((e) => name in e.options && !(name in command.options));
    parser = parser.option(kebab(name), {
      type: spec.type === 'number' ? 'string' : spec.type, // read as text, so that '0x' or '' is refused and not taken for a number
      alias: spec.alias === kebab(name) ? undefined : spec.alias, array: spec.array, choices: spec.choices, demandOption: spec.required,
      describe: spec.describe, requiresArg: spec.type !== 'boolean',
      default: spec.default === null || spec.array ? undefined : spec.default, defaultDescription: spec.default === '' ? 'none' : undefined,
      group: owner ? `Options of ${owner.name}:` : 'Options:',
    });
  }
  parser = parser.option('help', { alias: 'h', type: 'boolean', describe: 'print this and exit', group: 'Options:' });
  for (const { does, command: line } of command.examples) parser = parser.example(line, does);
  return parser;
}

/** Checks one value against its description. */
function value(name: string, spec: OptionSpec, raw: unknown): unknown {
  // Numbers may stand together with commas between them.
  if (spec.array) return [raw].flat().filter((v) => v !== undefined).flatMap((v) => (spec.type === 'number' ? String(v).split(',') : [v])).map((v) => single(name, spec, v));
  return single(name, spec, Array.isArray(raw) ? raw.at(-1) : raw);
}

function single(name: string, spec: OptionSpec, raw: unknown): unknown {
  if (raw === undefined || raw === null || spec.type !== 'number') return raw ?? undefined;
  const number = typeof raw === 'string' && raw.trim() === '' ? NaN : Number(raw);
  if (!Number.isFinite(number)) throw usageError(`--${kebab(name)} takes a number, not '${String(raw)}'`);
  const { min = -Infinity, max = Infinity } = spec;
  if (number < min || number > max) throw usageError(`--${kebab(name)} ${number} is out of range: ${spec.min ?? '…'} to ${spec.max ?? '…'}`);
  return number;
}

/** `-g -`: yargs takes a lone dash for an option where a list is wanted. */
function withDashes(argv: string[], specs: OptionSpecs): string[] {
  const takesValue = (word: string | undefined): boolean => Object.entries(specs).some(([name, o]) => o.type !== 'boolean' && (word === `--${kebab(name)}` || (o.alias !== undefined && word === `-${o.alias}`)));
  const words: string[] = [];
  for (const word of argv) {
    if (word === '-' && takesValue(words.at(-1))) words.push(`${words.pop()}=-`);
    else words.push(word);
  }
  return words;
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
