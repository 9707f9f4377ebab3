import type { Paper } from '../adapters/method.js';
import type { OptionSpecs } from '../options.js';

/** One subcommand: its definition is its usage text, its man page and its parser. */
export interface Command {
  name: string;
  /** One line, for `graft --help`. */
  summary: string;
  /** Paragraphs of the man page. */
  description: string[];
  /** Operands, e.g. `[FILE...]`; omitted where there are none. `suggest` gives the shell their names where they are no files. */
  operands?: { usage: string; describe: string; suggest?: () => Promise<string[]> };
  options: OptionSpecs;
  /**
   * A registry whose chosen entry brings options of its own (`--method`, `--objective`, `--kind`): the parser adds them, `--help`
   * with the choice made shows them, the man page lists them all.
   */
  choices?: ChoiceOf[];
  /** More of the man page, after the options. */
  notes?: { title: string; items: { term: string; text: string }[] }[];
  /** For a POSIX shell; the tests run every one of them (test/examples.test.ts). */
  examples: Example[];
  /** Whether standard output, where it is the output, gets binary data, which a terminal is spared. */
  binary?(args: Arguments): boolean;
  /** Runs it. Data errors and the like are thrown as GraftError. */
  run(args: Arguments): Promise<void>;
}

export interface Example { does: string; command: string }

/** An option whose value names an entry of a registry, e.g. `--method lora`. */
export interface ChoiceOf {
  option: string;
  /** The choice is the first operand (`graft data import`) rather than an option. */
  operand?: boolean;
  /** The names there are. */
  names(): Promise<readonly string[]> | readonly string[];
  /** One of them, its module loaded. */
  load(name: string): Promise<Entry>;
}

export interface Entry { name: string; summary: string; options: OptionSpecs; paper?: Paper | null; operands?: string }

/**
 * Operands in `_`; every option by its camelCase name; the line itself as the user typed it, quoted for a shell, in
 * `commandLine` (a graft's history).
 */
export type Arguments = { _: string[]; commandLine: string } & Record<string, any>; // eslint-disable-line @typescript-eslint/no-explicit-any
