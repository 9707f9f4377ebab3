import type { Paper } from './adapters/method.js';

/** The text in lines of at most `width` characters, `indent` spaces before each; a longer word stands alone. */
export function wrap(text: string, width: number, indent = 0): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    if (lines.length > 0 && lines[lines.length - 1].length + 1 + word.length <= width) lines[lines.length - 1] += ` ${word}`;
    else lines.push(' '.repeat(indent) + word);
  }
  return lines;
}

export const cite = ({ authors, year, title, url }: Paper): string => `${authors} (${year}). ${title}.${url ? ` ${url}` : ''}`;
