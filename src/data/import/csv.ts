import { Field, Schema, Utf8 } from 'apache-arrow';
import { dataError, usageError } from '../../errors.js';
import type { Row } from '../../formats/rows.js';
import type { OptionSpecs, OptionValues } from '../../options.js';
import { batched, eachInput, type Importer } from './importer.js';
import type { ImportInput } from './input.js';
import { encodingOption, readLines, type Encoding } from './lines.js';

/** Splits lines into the fields of records; a quoted field may go on over several lines (RFC 4180). */
export class CsvParser {
  private fields: string[] = [];
  private open: string[] | null = null;

  /** @param quoted whether fields may be written in double quotes */
  constructor(private readonly delimiter: string, private readonly quoted: boolean) {}

  /** Whether a quoted field is unfinished. */
  get unfinished(): boolean {
    return this.open !== null;
  }

  /** One more line. @returns the record that ends with it, or null inside a quoted field. @throws Error for text after a closing quote */
  feed(line: string): string[] | null {
    if (!this.quoted) return line.split(this.delimiter);
    let at = 0;
    if (this.open) {
      const end = closingQuote(line, 0);
      if (end < 0) {
        this.open.push(line);
        return null;
      }
      this.fields.push(unescape([...this.open, line.slice(0, end)].join('\n')));
      this.open = null;
      at = this.afterQuote(line, end + 1);
      if (at < 0) return this.finish();
    }
    for (;;) {
      if (line[at] === '"') {
        const end = closingQuote(line, at + 1);
        if (end < 0) {
          this.open = [line.slice(at + 1)];
          return null;
        }
        this.fields.push(unescape(line.slice(at + 1, end)));
        at = this.afterQuote(line, end + 1);
        if (at < 0) return this.finish();
      } else {
        const end = line.indexOf(this.delimiter, at);
        this.fields.push(end < 0 ? line.slice(at) : line.slice(at, end));
        if (end < 0) return this.finish();
        at = end + this.delimiter.length;
      }
    }
  }

  /** Where the next field begins, or −1 at the end of the line. */
  private afterQuote(line: string, at: number): number {
    if (at === line.length) return -1;
    if (!line.startsWith(this.delimiter, at)) throw new Error(`'${line.slice(at, at + 10)}' follows a closing quote`);
    return at + this.delimiter.length;
  }

  private finish(): string[] {
    const record = this.fields;
    this.fields = [];
    return record;
  }
}

function closingQuote(line: string, from: number): number {
  for (let i = line.indexOf('"', from); i >= 0; i = line.indexOf('"', i + 2)) if (line[i + 1] !== '"') return i;
  return -1;
}

const unescape = (text: string): string => text.replaceAll('""', '"');

const shared = {
  header: { type: 'string', describe: 'whether the first line names the columns; none needs --names', choices: ['first', 'none'], default: 'first' },
  names: { type: 'string', metavar: 'NAME,...', describe: 'names of the columns; with --header first, instead of those in the file' },
  ...encodingOption,
} as const satisfies OptionSpecs;

const delimited = (name: string, summary: string, extensions: string[], delimiter: string, quote: 'double' | 'none'): Importer => ({
  name, summary, extensions,
  options: {
    delimiter: { type: 'string', metavar: 'TEXT', describe: 'what separates fields', default: delimiter },
    quote: { type: 'string', describe: 'fields in double quotes (RFC 4180), or quotes that mean nothing', choices: ['double', 'none'], default: quote },
    ...shared,
  },
  read: (inputs, options) => readDelimited(inputs, { delimiter, quote, ...options }),
});

export const csv = delimited('csv', 'comma-separated values', ['.csv'], ',', 'double');
export const tsv = delimited('tsv', 'tab-separated values', ['.tsv', '.tab'], '\t', 'none');

async function readDelimited(inputs: readonly ImportInput[], options: OptionValues): Promise<{ schema: Schema; batches: AsyncGenerator<never> }> {
  const given = (options.names as string | undefined)?.split(',');
  if (options.header === 'none' && !given) throw usageError('--header none needs --names: what the columns are called');
  const names = given ?? await firstRecord(inputs[0], options);
  const schema = new Schema(names.map((n) => new Field(n, new Utf8(), true)));
  const rows = eachInput(inputs, (input) => rowsOfInput(input, names, options));
  return { schema, batches: batched(schema, rows) as AsyncGenerator<never> };
}

async function firstRecord(input: ImportInput, options: OptionValues): Promise<string[]> {
  await input.keep();
  for await (const { record } of records(input, options)) return record;
  throw dataError(`${input.name}: is empty`);
}

async function* rowsOfInput(input: ImportInput, names: string[], options: OptionValues): AsyncGenerator<Row> {
  let skip = options.header !== 'none';
  for await (const { record, line } of records(input, options)) {
    if (!skip && record.length !== names.length) {
      throw dataError(`${input.name}:${line}: has ${record.length} fields where ${names.length} are expected (${names.join(', ')})`);
    }
    if (!skip) yield Object.fromEntries(names.map((n, i) => [n, record[i]]));
    skip = false;
  }
}

async function* records(input: ImportInput, options: OptionValues): AsyncGenerator<{ record: string[]; line: number }> {
  const parser = new CsvParser(options.delimiter as string, options.quote === 'double');
  let begun = 1;
  for await (const { lines, first } of readLines(input.name, input.bytes(), options.encoding as Encoding)) {
    for (let i = 0; i < lines.length; i++) {
      if (!parser.unfinished) begun = first + i;
      if (lines[i] === '' && !parser.unfinished) continue;
      const record = attempt(() => parser.feed(lines[i]), `${input.name}:${first + i}`);
      if (record) yield { record, line: begun };
    }
  }
  if (parser.unfinished) throw dataError(`${input.name}:${begun}: a quoted field that begins here never ends (--quote none where quotes mean nothing)`);
}

function attempt<T>(action: () => T, where: string): T {
  try {
    return action();
  } catch (error) {
    throw dataError(`${where}: ${(error as Error).message} (--quote none where quotes mean nothing)`, error);
  }
}
