import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { dataError } from '../../errors.js';
import { inputFailure, readSmall } from '../../formats/input.js';
import type { Row } from '../../formats/rows.js';
import type { OptionSpecs } from '../../options.js';
import type { ImportInput } from './input.js';
import { isTar, readTar, type Member } from './tar.js';
import { compile, groupNames, matched } from './text.js';

export const memberOptions = {
  pattern: {
    type: 'string', metavar: 'REGEX',
    describe: 'named groups of this regular expression, applied to the path of each file, are further columns', default: '(?<label>[^/]+)/[^/]+$',
  },
} as const satisfies OptionSpecs;

/** What the paths of the files say. */
export class PathColumns {
  private readonly pattern: RegExp;
  readonly names: string[];

  constructor(source: string) {
    this.pattern = compile(source)!;
    this.names = groupNames(this.pattern);
  }

  of(path: string, where: string): Row {
    return matched(this.pattern, path, where);
  }
}

/**
 * The files below a folder (in the order of their paths), in a tar archive (in its order), or the one file itself, of
 * which those count that `wanted` matches.
 * @throws GraftError (65) where there is none
 */
export async function* members(input: ImportInput, wanted: RegExp, what: string): AsyncGenerator<Member> {
  let count = 0;
  for await (const member of filesOf(input)) {
    if (!wanted.test(member.path) || basename(member.path).startsWith('.')) continue;
    count++;
    yield { path: member.path, bytes: await member.read() };
  }
  if (count === 0) throw dataError(`${input.name}: holds no ${what}`);
}

async function* filesOf(input: ImportInput): AsyncGenerator<{ path: string; read(): Promise<Uint8Array> }> {
  if (input.isFolder) {
    for await (const path of walk(input.path, '')) yield { path, read: () => readSmall(join(input.path, path)) };
  } else if (isTar(await input.head(512))) {
    for await (const { path, bytes } of readTar(input.name, input.bytes())) yield { path, read: async () => bytes };
  } else {
    yield { path: input.path, read: () => input.all() };
  }
}

async function* walk(root: string, below: string): AsyncGenerator<string> {
  const entries = await readdir(join(root, below), { withFileTypes: true }).catch((e) => { throw inputFailure(join(root, below), e); });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    const path = below ? `${below}/${entry.name}` : entry.name;
    if (entry.isDirectory()) yield* walk(root, path);
    else yield path;
  }
}
