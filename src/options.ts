/**
 * One description of an option serves the command line, `--help`, the man page and the configuration stored in a graft:
 * commands and methods declare theirs as plain objects of this form.
 */
export interface OptionSpec {
  type: 'string' | 'number' | 'boolean';
  /** One letter, for options many commands share. */
  alias?: string;
  /** The value in usage lines, e.g. DIR. A number called N is a whole one, which the parser checks. */
  metavar?: string;
  describe: string;
  default?: string | number | boolean | null;
  choices?: readonly string[];
  /** Names the shell may complete it to: one, or several with commas between them. */
  suggest?: () => Promise<readonly string[]>;
  /** Repeatable: the value is a list. */
  array?: boolean;
  required?: boolean;
  /** Its value names a file that will be written: whether it can be is checked before the work. */
  writes?: boolean;
  /** Changes nothing in the result: left out of the history of what a command makes. */
  incidental?: boolean;
  /** Smallest and largest accepted number, inclusive. */
  min?: number;
  max?: number;
}

/** Option names are camelCase here and kebab-case on the command line. */
export type OptionSpecs = Record<string, OptionSpec>;

/** Parsed values, by name; an absent option without a default is undefined. */
export type OptionValues = Record<string, unknown>;

export const kebab = (name: string): string => name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);

/** An option as manual pages and listings write it: its flags, the value it takes, what it does. */
export interface OptionUsage { flags: string[]; value: string; text: string }

export function optionUsage(name: string, spec: OptionSpec): OptionUsage {
  const { type, alias, choices, metavar, describe, array, default: fallback } = spec;
  const long = kebab(name);
  const repeats = array && !describe.includes('repeatable') ? '; repeatable' : '';
  return {
    flags: [...(alias ? [`-${alias}`] : []), ...(long === alias ? [] : [`--${long}`])],
    value: type === 'boolean' ? '' : choices?.join('|') ?? metavar ?? (type === 'number' ? 'N' : 'TEXT'),
    text: `${describe}${repeats}${defaultOf(long, describe, fallback)}`,
  };
}

function defaultOf(long: string, describe: string, fallback: OptionSpec['default']): string {
  if (fallback === undefined || fallback === null || fallback === '' || fallback === false) return '';
  if (fallback !== true) return ` (default ${fallback})`;
  return describe.includes(`--no-${long}`) ? '' : ` (default; --no-${long} turns it off)`;
}
