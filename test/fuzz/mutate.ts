import { Rng } from '@graft/kernels/random';

/** What is known about the bytes: JSON text and safetensors headers are changed as values too, so that the damage lies deeper. */
export type Shape = 'bytes' | 'json' | 'safetensors';

/** A damaged copy; the same numbers give the same damage. */
export function mutate(bytes: Buffer, shape: Shape, rng: Rng): Buffer {
  let out = bytes;
  if (shape !== 'bytes' && rng.integer(5) < 4) {
    for (let n = 1 + rng.integer(2); n > 0; n--) out = shape === 'json' ? inJson(out, rng) : inHeader(out, rng);
    if (rng.integer(4) > 0) return out;
  }
  for (let n = 1 + rng.integer(3); n > 0; n--) out = pick(rng, DAMAGE)(out, rng);
  return out;
}

const pick = <T>(rng: Rng, list: readonly T[]): T => list[rng.integer(list.length)];

type Damage = (bytes: Buffer, rng: Rng) => Buffer;

/** Formats keep what matters at their ends. */
function place(bytes: Buffer, rng: Rng, room = 0): number {
  const last = Math.max(0, bytes.length - room), end = Math.min(last, 256);
  return pick(rng, [() => rng.integer(last + 1), () => rng.integer(last + 1), () => rng.integer(end + 1), () => last - rng.integer(end + 1)])();
}

const edited = (bytes: Buffer, edit: (copy: Buffer) => void): Buffer => {
  const copy = Buffer.from(bytes);
  if (copy.length > 0) edit(copy);
  return copy;
};

const BOUNDARIES = [0n, 1n, 2n, 7n, 8n, 127n, 128n, 255n, 256n, 32767n, 65535n, 65536n, 2147483647n, 2147483648n, 4294967295n, 4294967296n, 9007199254740992n, 9223372036854775807n, -1n, -2n, -8n, -2147483648n];

function integerAt(copy: Buffer, rng: Rng): void {
  const width = pick(rng, [1, 2, 4, 4, 8].filter((w) => w <= copy.length));
  const value = pick(rng, [...BOUNDARIES, BigInt(copy.length), BigInt(copy.length - 1), BigInt(copy.length + 1)]);
  const at = place(copy, rng, width), bits = BigInt.asUintN(8 * width, value);
  for (let i = 0, big = rng.integer(2) === 1; i < width; i++) copy[at + (big ? width - 1 - i : i)] = Number((bits >> BigInt(8 * i)) & 255n);
}

function block(bytes: Buffer, rng: Rng): Buffer {
  const from = place(bytes, rng);
  return bytes.subarray(from, from + 1 + rng.integer(pick(rng, [4, 64, 1024])));
}

const insert = (bytes: Buffer, what: Buffer, at: number): Buffer => Buffer.concat([bytes.subarray(0, at), what, bytes.subarray(at)]);

const DAMAGE: readonly Damage[] = [
  (bytes, rng) => edited(bytes, (copy) => { for (let n = 1 + rng.integer(4); n > 0; n--) copy[place(copy, rng, 1)] ^= 1 << rng.integer(8); }),
  (bytes, rng) => edited(bytes, (copy) => { copy[place(copy, rng, 1)] = pick(rng, [0, 1, 10, 32, 34, 44, 48, 127, 128, 254, 255]); }),
  (bytes, rng) => edited(bytes, (copy) => integerAt(copy, rng)),
  (bytes, rng) => edited(bytes, (copy) => integerAt(copy, rng)),
  (bytes, rng) => bytes.subarray(0, place(bytes, rng)),
  (bytes, rng) => insert(bytes, Buffer.from(Array.from({ length: 1 + rng.integer(16) }, () => rng.integer(256))), place(bytes, rng)),
  (bytes, rng) => insert(bytes, block(bytes, rng), place(bytes, rng)),
  (bytes, rng) => edited(bytes, (copy) => { block(copy, rng).copy(copy, place(copy, rng)); }),
  (bytes, rng) => {
    const from = place(bytes, rng);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + 1 + rng.integer(pick(rng, [4, 64, 1024])))]);
  },
];

const deep = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth));
const VALUES: readonly (() => unknown)[] = [
  () => null, () => true, () => false, () => 0, () => 1, () => -1, () => 2, () => 0.5, () => 2 ** 31, () => 2 ** 32, () => 2 ** 53, () => -(2 ** 31), () => 1e308, () => 1e9, () => 70000,
  () => '', () => 'x', () => '\u0000\n', () => '../../x', () => '__proto__', () => 'x'.repeat(5000), () => '1', () => [], () => ({}), () => [0], () => [[]], () => [-1, 1], () => ['x', 1, null], () => deep(100), () => ({ x: { y: 1 } }),
];

type Tree = Record<string, unknown> | unknown[];
const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null;

/** Every place in a value: the object it is in and its key. Lists are entered at a few entries only. */
function places(value: Tree, found: { tree: Record<string, unknown>; key: string }[] = []): { tree: Record<string, unknown>; key: string }[] {
  const keys = Object.keys(value);
  for (const key of Array.isArray(value) ? keys.slice(0, 3) : keys.slice(0, 60)) {
    const tree = value as Record<string, unknown>;
    found.push({ tree, key });
    if (isTree(tree[key])) places(tree[key], found);
  }
  return found;
}

function damageTree(value: Tree, rng: Rng): void {
  const all = places(value);
  if (all.length === 0) return;
  const { tree, key } = pick(rng, all), other = pick(rng, all);
  const text = tree[key];
  if (typeof text === 'string' && text.startsWith('{') && rng.integer(4) > 0) {
    const inner = parsed(text); // descriptions are JSON texts within JSON
    if (inner) {
      damageTree(inner, rng);
      tree[key] = JSON.stringify(inner);
      return;
    }
  }
  pick(rng, [
    () => { tree[key] = pick(rng, VALUES)(); },
    () => { tree[key] = pick(rng, VALUES)(); },
    () => { if (typeof tree[key] === 'number') tree[key] = pick(rng, [(tree[key]) + 1, (tree[key]) - 1, -(tree[key]), (tree[key]) * 2, (tree[key]) / 2, 0]); else tree[key] = pick(rng, VALUES)(); },
    () => { if (Array.isArray(tree)) tree.splice(Number(key), 1); else delete tree[key]; },
    () => { tree[pick(rng, ['__proto__', 'constructor', 'x', '', `${key}x`])] = tree[key]; },
    () => { [tree[key], other.tree[other.key]] = [structuredClone(other.tree[other.key]), structuredClone(tree[key])]; },
  ])();
}

function parsed(text: string): Tree | null {
  try {
    const value: unknown = JSON.parse(text);
    return isTree(value) ? value : null;
  } catch {
    return null;
  }
}

function inJson(bytes: Buffer, rng: Rng): Buffer {
  const value = parsed(bytes.toString());
  if (!value) return bytes;
  damageTree(value, rng);
  return Buffer.from(JSON.stringify(value));
}

function inHeader(bytes: Buffer, rng: Rng): Buffer {
  if (bytes.length < 8) return bytes;
  const length = Number(bytes.readBigUInt64LE());
  if (length > bytes.length - 8) return bytes;
  const text = inJson(bytes.subarray(8, 8 + length), rng), size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([size, text, bytes.subarray(8 + length)]);
}
