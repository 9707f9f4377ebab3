import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { dataError } from '../errors.js';
import { readJson } from '../formats/checkpoint.js';

/** One text as the model reads it. */
export interface Encoded {
  ids: number[];
  /** Segment of each token. */
  types: number[];
}

/** A checkpoint's tokenizer.json with what tokenizer_config.json adds. */
export class Tokenizer {
  private readonly inner: HuggingFaceTokenizer;
  readonly padId: number;
  readonly maskId: number | undefined;
  /** Closes a response. */
  readonly endId: number | undefined;
  /** Longest input in tokens, special ones included. */
  readonly maxLength: number;
  /** Ids that are no text: they are never masked or scored. */
  readonly specialIds: ReadonlySet<number>;

  constructor(directory: string, modelLength: number) {
    const path = join(directory, 'tokenizer.json');
    const json = readJson(path), config = existsSync(join(directory, 'tokenizer_config.json')) ? readJson(join(directory, 'tokenizer_config.json')) : {};
    try {
      this.inner = new HuggingFaceTokenizer(json, config);
    } catch (e) {
      throw dataError(`${path}: is not a tokenizer graft can read: ${(e as Error).message}`, e);
    }
    const added = (json.added_tokens ?? []) as { id: number; content: string; special: boolean }[];
    this.specialIds = new Set(added.filter((t) => t.special).map((t) => t.id));
    const id = (key: string, ...usual: string[]): number | undefined => {
      const named = config[key] as string | { content: string } | undefined;
      const names = [typeof named === 'object' ? named?.content : named, ...usual].filter((n) => n !== undefined && n !== null);
      return names.map((n) => this.inner.token_to_id(n)).find((i) => i !== undefined);
    };
    this.padId = id('pad_token', '[PAD]', '<pad>') ?? id('eos_token', '</s>', '<|endoftext|>') ?? 0;
    this.endId = id('eos_token', '</s>', '<|endoftext|>');
    this.maskId = id('mask_token', '[MASK]', '<mask>');
    const said = Number(config.model_max_length ?? Infinity);
    this.maxLength = Math.min(said, modelLength);
  }

  /** Ids of a text, or of a pair, with the special tokens the model expects, cut to `maxLength`. */
  encode(text: string, pair?: string | null, maxLength = this.maxLength): Encoded {
    const { ids, token_type_ids: types } = this.inner.encode(text, { text_pair: pair ?? null, return_token_type_ids: true });
    return cut({ ids, types: types ?? ids.map(() => 0) }, maxLength, this.specialIds);
  }

  /** Ids of a text without special tokens. */
  plain(text: string): number[] {
    return this.inner.encode(text, { add_special_tokens: false }).ids;
  }

  /** A sentence given as words: its ids, and for each token the word it starts, or -1. */
  encodeWords(words: readonly string[], maxLength = this.maxLength): Encoded & { starts: number[] } {
    const empty = this.inner.encode('').ids;
    const closing = empty.length - Math.ceil(empty.length / 2);
    const ids = empty.slice(0, empty.length - closing), starts = ids.map(() => -1);
    words.forEach((word, w) => {
      const pieces = this.plain(w === 0 ? word : ` ${word}`);
      if (ids.length + pieces.length + closing > maxLength) return;
      pieces.forEach((id, i) => { ids.push(id); starts.push(i === 0 ? w : -1); });
    });
    for (const id of empty.slice(empty.length - closing)) { ids.push(id); starts.push(-1); }
    return { ids, types: ids.map(() => 0), starts };
  }

  decode(ids: readonly number[]): string {
    return this.inner.decode([...ids], { skip_special_tokens: true });
  }
}

/** Drops tokens from the end of the longest segment until the input fits, keeping special tokens. */
function cut({ ids, types }: Encoded, maxLength: number, special: ReadonlySet<number>): Encoded {
  while (ids.length > maxLength) {
    const counts = new Map<number, number>();
    types.forEach((t, i) => { if (!special.has(ids[i])) counts.set(t, (counts.get(t) ?? 0) + 1); });
    const longest = [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
    let last = ids.length - 1;
    while (last > 0 && (special.has(ids[last]) || types[last] !== longest)) last--;
    if (counts.size < 2) { // one segment: cut in one go
      const tail = ids.slice(last + 1), excess = ids.length - maxLength;
      ids = [...ids.slice(0, last + 1 - excess), ...tail];
      types = [...types.slice(0, last + 1 - excess), ...types.slice(last + 1)];
    } else {
      ids = [...ids.slice(0, last), ...ids.slice(last + 1)];
      types = [...types.slice(0, last), ...types.slice(last + 1)];
    }
  }
  return { ids, types };
}
