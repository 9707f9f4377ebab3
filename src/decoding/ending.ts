import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Tokenizer } from '../data/tokenizer.js';
import { dataError } from '../errors.js';
import { readJson } from '../formats/checkpoint.js';
import { isCount } from '../formats/json.js';
import type { Finish, Sequence } from './method.js';

const known = new Map<string, ReadonlySet<number>>();

/** The tokens that end a text: `eos_token_id` of generation_config.json or config.json, else the tokeniser's end of text. */
export function endTokens(model: string, tokenizer: Tokenizer): ReadonlySet<number> {
  let ids = known.get(model);
  if (!ids) known.set(model, (ids = new Set(stated(model) ?? (tokenizer.endId === undefined ? [] : [tokenizer.endId]))));
  return ids;
}

function stated(model: string): number[] | undefined {
  for (const file of ['generation_config.json', 'config.json'].map((f) => join(model, f)).filter((f) => existsSync(f))) {
    const { eos_token_id: given } = readJson(file);
    if (given === undefined || given === null) continue;
    const ids = Array.isArray(given) ? given : [given];
    if (!ids.every(isCount)) throw dataError(`${file}: eos_token_id is ${JSON.stringify(given)}, no token`);
    return ids;
  }
  return undefined;
}

/** Says of a sequence whose last token is new whether it ends there. @param stops strings that end the generated text */
export function stopping(endIds: ReadonlySet<number>, maxNew: number, stops: readonly string[], tokenizer: Pick<Tokenizer, 'surface'>): (s: Sequence) => Finish | null {
  const longest = Math.max(0, ...stops.map((s) => s.length));
  return ({ ids, prompt }) => {
    if (endIds.has(ids.at(-1)!)) return 'end';
    if (longest > 0) {
      // A stop string ends in the last token: no more of the text can hold its beginning than it has characters.
      const text = tokenizer.surface(ids.slice(Math.max(prompt, ids.length - longest - 8)));
      if (stops.some((s) => text.includes(s))) return 'stop';
    }
    return ids.length - prompt >= maxNew ? 'length' : null;
  };
}
