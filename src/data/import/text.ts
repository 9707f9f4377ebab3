import { Field, Schema, Utf8 } from 'apache-arrow';
import { dataError, usageError } from '../../errors.js';
import type { Row } from '../../formats/rows.js';
import { batched, eachInput, type Importer } from './importer.js';
import type { ImportInput } from './input.js';
import { encodingOption, readLines, type Encoding } from './lines.js';

export const text: Importer = {
  name: 'text',
  summary: 'lines, paragraphs or whole files of text; lines of any form by a pattern',
  extensions: ['.txt'],
  options: {
    unit: { type: 'string', describe: 'what makes a row; paragraphs are separated by blank lines', choices: ['line', 'paragraph', 'document'], default: 'line' },
    pattern: { type: 'string', metavar: 'REGEX', describe: 'named groups of this regular expression are the columns, e.g. \'^(?<label>\\w+):(?<fine>\\w+) (?<text>.*)$\'' },
    ...encodingOption,
  },
  async read(inputs, options) {
    const pattern = compile(options.pattern as string | undefined);
    const names = pattern ? groupNames(pattern) : ['text'];
    const schema = new Schema(names.map((n) => new Field(n, new Utf8(), true)));
    const rows = eachInput(inputs, async function* (input): AsyncGenerator<Row> {
      for await (const { value, line } of units(input, options.unit as string, options.encoding as Encoding)) {
        if (!pattern) yield { text: value };
        else yield matched(pattern, value, `${input.name}:${line}`);
      }
    });
    return { schema, batches: batched(schema, rows) };
  },
};

async function* units(input: ImportInput, unit: string, encoding: Encoding): AsyncGenerator<{ value: string; line: number }> {
  let held: string[] = [], begun = 1;
  for await (const { lines, first } of readLines(input.name, input.bytes(), encoding)) {
    for (let i = 0; i < lines.length; i++) {
      const blank = lines[i].trim() === '';
      if (unit === 'line' && !blank) yield { value: lines[i], line: first + i };
      if (unit === 'line') continue;
      if (unit === 'paragraph' && blank) {
        if (held.length > 0) yield { value: held.join('\n'), line: begun };
        held = [];
        continue;
      }
      if (held.length === 0) begun = first + i;
      held.push(lines[i]);
    }
  }
  if (held.length > 0) yield { value: held.join('\n'), line: begun };
}

/** @throws GraftError (usage) for a regular expression that is not one */
export function compile(source: string | undefined): RegExp | null {
  if (source === undefined) return null;
  try {
    return new RegExp(source, 'su');
  } catch (error) {
    throw usageError(`--pattern ${source}: ${(error as Error).message}`);
  }
}

/** @throws GraftError (usage) where the pattern names nothing */
export function groupNames(pattern: RegExp): string[] {
  const names = [...pattern.source.matchAll(/\(\?<([A-Za-z_]\w*)>/g)].map((m) => m[1]);
  if (names.length === 0) throw usageError(`--pattern ${pattern.source}: has no named groups, (?<text>...)`);
  return names;
}

/** The named groups of a match. @throws GraftError (65) where there is none */
export function matched(pattern: RegExp, value: string, where: string): Row {
  const found = pattern.exec(value);
  if (!found) throw dataError(`${where}: does not match --pattern: ${value.slice(0, 60)}`);
  return { ...found.groups };
}
