import { Field, Schema, Utf8 } from 'apache-arrow';
import { dataError } from '../../errors.js';
import type { Row } from '../../formats/rows.js';
import { batched, eachInput, type Importer } from './importer.js';
import type { ImportInput } from './input.js';
import { readLines } from './lines.js';

export const fasta: Importer = {
  name: 'fasta',
  summary: 'sequences of nucleotides or amino acids: id and text',
  extensions: ['.fasta', '.fa', '.fna', '.faa'],
  options: {},
  recognises: (head) => head[0] === 0x3e,
  async read(inputs) {
    const schema = new Schema([new Field('id', new Utf8(), true), new Field('text', new Utf8(), true)]);
    return { schema, batches: batched(schema, eachInput(inputs, sequences)) };
  },
};

async function* sequences(input: ImportInput): AsyncGenerator<Row> {
  let id: string | null = null, begun = 0, parts: string[] = [];
  const finish = (): Row => {
    if (parts.length === 0) throw dataError(`${input.name}:${begun}: '${id}' has no sequence`);
    return { id, text: parts.join('') };
  };
  for await (const { lines, first } of readLines(input.name, input.bytes(), 'utf8')) {
    for (let i = 0; i < lines.length; i++) {
      const line = lines[i].trim();
      if (line === '') continue;
      if (line[0] === '>') {
        if (id !== null) yield finish();
        [id, begun, parts] = [line.slice(1).trim().split(/\s/)[0], first + i, []];
      } else if (id === null) throw dataError(`${input.name}:${first + i}: a sequence before the first '>' line; is this FASTA?`);
      else if (!/^[A-Za-z*-]+$/.test(line)) throw dataError(`${input.name}:${first + i}: is not a sequence: ${line.slice(0, 40)}`);
      else parts.push(line);
    }
  }
  if (id !== null) yield finish();
}
