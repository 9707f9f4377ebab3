import { dataError } from '../../errors.js';
import type { OptionSpecs } from '../../options.js';

export const encodingOption = {
  encoding: { type: 'string', describe: 'how the text is encoded', choices: ['utf8', 'latin1'], default: 'utf8' },
} as const satisfies OptionSpecs;

export type Encoding = 'utf8' | 'latin1';

/** Longer lines are taken for binary data. */
const LONGEST_LINE = 1 << 26;

/**
 * The lines of a text without their ends (LF or CR LF), in groups, with a byte order mark removed.
 * @returns groups of lines and the number, from 1, of their first
 * @throws GraftError (65) naming the line that is not UTF-8
 */
export async function* readLines(name: string, bytes: AsyncIterable<Uint8Array>, encoding: Encoding): AsyncGenerator<{ lines: string[]; first: number }> {
  const decode = decoder(encoding);
  let rest: Uint8Array[] = [], restSize = 0, number = 1;
  const text = (line: Uint8Array, at: number): string => {
    const end = line.length > 0 && line[line.length - 1] === 13 ? line.length - 1 : line.length;
    try {
      const decoded = decode(line.subarray(0, end));
      return at === 1 && decoded.charCodeAt(0) === 0xfeff ? decoded.slice(1) : decoded;
    } catch (error) {
      throw dataError(`${name}:${at}: is not valid UTF-8 (--encoding latin1 reads Latin-1)`, error);
    }
  };
  for await (const chunk of bytes) {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const piece = chunk.subarray(start, end);
      lines.push(text(rest.length > 0 ? Buffer.concat([...rest, piece]) : piece, number + lines.length));
      rest = [];
      restSize = 0;
      start = end + 1;
    }
    if (start < chunk.length) {
      rest.push(chunk.subarray(start));
      restSize += chunk.length - start;
      if (restSize > LONGEST_LINE) throw dataError(`${name}:${number + lines.length}: the line is longer than ${LONGEST_LINE} bytes; is this text?`);
    }
    if (lines.length > 0) yield { lines, first: number };
    number += lines.length;
  }
  if (restSize > 0) yield { lines: [text(Buffer.concat(rest), number)], first: number };
}

function decoder(encoding: Encoding): (bytes: Uint8Array) => string {
  if (encoding === 'latin1') return (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  return (bytes) => strict.decode(bytes);
}
