import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { dataError, GraftError } from '../errors.js';
import { readJson } from '../formats/checkpoint.js';
import { isCount, isObject } from '../formats/json.js';

/** One text as the model reads it. */
export interface Encoded {
  ids: number[];
  /** Segment of each token. */
  types: number[];
}

/** A checkpoint's tokenizer.json with what tokenizer_config.json adds. */
export class Tokenizer {
  private readonly path: string;
  private readonly inner: HuggingFaceTokenizer;
  private readonly added: ReadonlyMap<string, number>;
  private readonly byteLevel: boolean;
  /** A word's first token carries the space before it. */
  private readonly spaced: boolean;
  /** A pair's second text is segment 1. */
  private readonly segmented: boolean;
  /** Special tokens before a text. */
  private readonly opening: number;
  readonly padId: number;
  readonly maskId: number | undefined;
  /** Closes a response. */
  readonly endId: number | undefined;
  /** Longest input in tokens, special ones included. */
  readonly maxLength: number;
  /** Ids that are no text: they are never masked or scored. */
  readonly specialIds: ReadonlySet<number>;

  /** @param vocabulary number of embeddings the model has for tokens */
  constructor(directory: string, modelLength: number, private readonly vocabulary = Infinity) {
    const path = join(directory, 'tokenizer.json');
    this.path = path;
    const json = readJson(path), config = existsSync(join(directory, 'tokenizer_config.json')) ? readJson(join(directory, 'tokenizer_config.json')) : {};
    const added = json.added_tokens ?? [];
    if (!Array.isArray(added) || !added.every(isToken)) throw dataError(`${path}: added_tokens is no list of tokens`);
    const said = config.model_max_length ?? Infinity;
    if (typeof said !== 'number' || !(said >= 1)) throw dataError(`${directory}/tokenizer_config.json: model_max_length is ${JSON.stringify(said)}, no length`);
    this.maxLength = Math.min(said, modelLength);
    this.specialIds = new Set(added.filter((t) => t.special).map((t) => t.id));
    this.spaced = !['WordPiece', 'WordLevel'].includes(String((json.model as { type?: string } | undefined)?.type));
    // RoBERTa has one segment, whatever the library says.
    this.segmented = (json.post_processor as { type?: string } | null)?.type !== 'RobertaProcessing';
    try {
      const inner = this.inner = new HuggingFaceTokenizer(json, config);
      this.byteLevel = usesBytes(json.pre_tokenizer);
      // Found in normalised text, an added token looks as the normaliser leaves it.
      this.added = new Map(added.flatMap((t) => [[t.content, t.id], [inner.normalizer?.normalize(t.content) ?? t.content, t.id]]));
      const mark = '\u0000';
      this.opening = Math.max(0, inner.post_processor?.post_process([mark], null, true).tokens.indexOf(mark) ?? 0);
      const id = (key: string, ...usual: string[]): number | undefined => {
        const named = config[key] as string | { content: string } | undefined;
        const names = [typeof named === 'object' ? named?.content : named, ...usual].filter((n) => typeof n === 'string');
        return names.map((n) => inner.token_to_id(n)).find((i) => i !== undefined);
      };
      this.padId = this.known(id('pad_token', '[PAD]', '<pad>') ?? id('eos_token', '</s>', '<|endoftext|>') ?? 0, 'the padding');
      this.endId = id('eos_token', '</s>', '<|endoftext|>');
      this.maskId = id('mask_token', '[MASK]', '<mask>');
    } catch (error) {
      throw this.failure(error);
    }
  }

  /** Ids of a text, or of a pair, with the special tokens the model expects; a text too long loses its end, a pair that of its longer part. */
  encode(text: string, pair?: string | null, maxLength = this.maxLength): Encoded {
    const parts = [this.pieces(text), ...(pair ? [this.pieces(pair)] : [])];
    const room = Math.max(0, maxLength - this.dress(parts.map(() => [])).ids.length);
    const lengths = share(parts.map((p) => p.length), room);
    return this.dress(parts.map((p, i) => p.slice(0, lengths[i])));
  }

  /** Ids of a text without special tokens. */
  plain(text: string): number[] {
    return this.pieces(text).map((t) => this.idOf(t));
  }

  /** A sentence given as words: its ids, and for each token the word it starts, or -1. */
  encodeWords(words: readonly string[], maxLength = this.maxLength): Encoded & { starts: number[] } {
    // Byte-level vocabularies tell a word from the middle of one by the space before it.
    const split = words.map((word) => this.pieces(this.byteLevel ? ` ${word}` : word));
    const room = Math.max(0, maxLength - this.dress([[]]).ids.length);
    const pieces = split.flat().slice(0, room);
    const starts = split.flatMap((p, w) => p.map((_, i) => (i === 0 ? w : -1))).slice(0, room);
    const { ids, types } = this.dress([pieces]);
    const before = this.opening, after = ids.length - before - pieces.length;
    return { ids, types, starts: [...Array<number>(before).fill(-1), ...starts, ...Array<number>(after).fill(-1)] };
  }

  private pieces(text: string): string[] {
    return this.attempt(() => this.inner.tokenize(text, { add_special_tokens: false }));
  }

  /** What the library throws at a description that does not hold together. */
  private attempt<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw this.failure(error);
    }
  }

  private failure(error: unknown): GraftError {
    return error instanceof GraftError ? error : dataError(`${this.path}: is not a tokenizer graft can read: ${(error as Error).message}`, error);
  }

  private known(id: unknown, token: string): number {
    if (!isCount(id) || id >= this.vocabulary) throw dataError(`${this.path}: ${token} is token ${JSON.stringify(id)}, the model has ${this.vocabulary}`);
    return id;
  }

  /** Adds the special tokens around one or two texts. */
  private dress([first, second]: string[][]): Encoded {
    return this.attempt(() => {
      const { tokens, token_type_ids: types } = this.inner.post_processor?.post_process(first, second ?? null, true) ?? { tokens: [...first, ...(second ?? [])], token_type_ids: undefined };
      const segments = this.segmented && types ? types : tokens.map(() => 0);
      if (segments.length !== tokens.length || !segments.every((t: unknown) => t === 0 || t === 1)) throw new Error('its post_processor gives segments that are neither 0 nor 1');
      return { ids: (tokens as string[]).map((t) => this.idOf(t)), types: segments };
    });
  }

  private idOf(token: string): number {
    return this.known(this.added.get(token) ?? this.inner.token_to_id(token) ?? this.inner.model!.unk_token_id ?? 0, `'${token}'`);
  }

  /** The positions of each word's tokens: pieces that go on a word (##…, or without the space before) belong to it. Special tokens are in none. */
  words(ids: readonly number[]): number[][] {
    const words: number[][] = [];
    ids.forEach((id, i) => {
      if (this.specialIds.has(id)) return;
      const continues = i > 0 && !this.specialIds.has(ids[i - 1]) && this.continues(this.inner.id_to_token(id) ?? '');
      if (continues) words.at(-1)!.push(i);
      else words.push([i]);
    });
    return words;
  }

  private continues(piece: string): boolean {
    if (this.spaced) return !/^[\u2581\u0120\u010a]/.test(piece); // ▁, and byte-level space and line end
    return piece.startsWith('##');
  }

  /** The text of tokens just as they spell it: no special tokens, and no spaces tidied up. */
  surface(ids: readonly number[]): string {
    return ids.length === 0 ? '' : this.attempt(() => this.inner.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false }));
  }

  decode(ids: readonly number[]): string {
    return this.attempt(() => this.inner.decode([...ids], { skip_special_tokens: true }));
  }
}

const isToken = (t: unknown): t is { id: number; content: string; special?: boolean } => isObject(t) && isCount(t.id) && typeof t.content === 'string';

/** Lengths that fit into `room` together: the longer of two parts gives way first, as in Hugging Face's longest_first. */
function share(lengths: number[], room: number): number[] {
  if (lengths.length === 1) return [Math.min(lengths[0], room)];
  if (lengths[0] + lengths[1] <= room) return lengths;
  const swap = lengths[0] > lengths[1];
  let [short, long] = swap ? [lengths[1], lengths[0]] : lengths;
  long = Math.max(short, room - short);
  if (short + long > room) {
    short = Math.floor(room / 2);
    long = room - short;
  }
  return swap ? [long, short] : [short, long];
}

/** Texts are cut by ByteLevel, alone or in a sequence. */
function usesBytes(preTokenizer: unknown): boolean {
  const { type, pretokenizers = [] } = (preTokenizer ?? {}) as { type?: string; pretokenizers?: unknown[] };
  return type === 'ByteLevel' || pretokenizers.some(usesBytes);
}
