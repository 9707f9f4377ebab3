import { dataError } from '../errors.js';

/** Deeper nesting is an attack on whoever walks the value. */
const MAX_DEPTH = 200;

/** The value of a JSON text from a file. @throws GraftError (65) beginning with `where` for text that is none */
export function parseJson(text: string, where: string): unknown {
  if (depthOf(text) > MAX_DEPTH) throw dataError(`${where}: is nested deeper than ${MAX_DEPTH} levels`);
  try {
    return JSON.parse(text);
  } catch (error) {
    // What a binary file holds says nothing to a reader, and moves a terminal's cursor.
    throw dataError(`${where}: is not JSON${/[\0\ufffd]/.test(text) ? ' but binary data' : `: ${(error as Error).message}`}`, error);
  }
}

/** The same for a text that must hold an object. */
export function parseObject(text: string, where: string): Record<string, unknown> {
  const value = parseJson(text, where);
  if (!isObject(value)) throw dataError(`${where}: is not a JSON object`);
  return value;
}

export const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

export const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function depthOf(text: string): number {
  let depth = 0, deepest = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x22) while (++i < text.length && text.charCodeAt(i) !== 0x22) if (text.charCodeAt(i) === 0x5c) i++;
    if (c === 0x7b || c === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (c === 0x7d || c === 0x5d) depth--;
  }
  return deepest;
}
