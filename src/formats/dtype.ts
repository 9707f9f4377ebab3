/** The element types of the safetensors format, their widths, and exact conversion to and from float32. */

const BITS = {
  BOOL: 8, F4: 4, F6_E2M3: 6, F6_E3M2: 6, U8: 8, I8: 8, F8_E5M2: 8, F8_E4M3: 8, F8_E8M0: 8, F8_E5M2FNUZ: 8, F8_E4M3FNUZ: 8,
  I16: 16, U16: 16, F16: 16, BF16: 16, I32: 32, U32: 32, F32: 32, C64: 64, F64: 64, I64: 64, U64: 64,
} as const;

export type StoredDtype = keyof typeof BITS;

export const isDtype = (name: unknown): name is StoredDtype => typeof name === 'string' && Object.hasOwn(BITS, name);

export const bitsOf = (dtype: StoredDtype): number => BITS[dtype];

/** Bytes of a tensor; NaN where its bits do not fill whole bytes. */
export function byteLength(dtype: StoredDtype, shape: readonly number[]): number {
  const bits = shape.reduce((a, b) => a * b, 1) * BITS[dtype];
  return bits % 8 === 0 ? bits / 8 : NaN;
}

/** The types trained weights come in: those that arithmetic and casts accept. */
export type FloatDtype = 'F32' | 'F16' | 'BF16' | 'F64';
export const isFloat = (dtype: StoredDtype): dtype is FloatDtype => dtype === 'F32' || dtype === 'F16' || dtype === 'BF16' || dtype === 'F64';

/** Little-endian elements as float32 (floats) or int32 (integers and booleans); null where graft has no reading of the type. */
export function decode(bytes: Uint8Array, dtype: StoredDtype): Float32Array | Int32Array | null {
  const { buffer, byteOffset, byteLength: n } = bytes.byteOffset % 8 === 0 ? bytes : new Uint8Array(bytes); // slice() of a Buffer is no copy
  switch (dtype) {
    case 'F32': return new Float32Array(buffer, byteOffset, n / 4);
    case 'F64': return Float32Array.from(new Float64Array(buffer, byteOffset, n / 8));
    case 'BF16': return widen(new Uint16Array(buffer, byteOffset, n / 2), (h) => h << 16);
    case 'F16': return widen(new Uint16Array(buffer, byteOffset, n / 2), halfToBits);
    case 'F8_E5M2': return widen(new Uint8Array(buffer, byteOffset, n), (h) => halfToBits(h << 8));
    case 'F8_E4M3': return Float32Array.from(new Uint8Array(buffer, byteOffset, n), e4m3);
    case 'F8_E8M0': return Float32Array.from(new Uint8Array(buffer, byteOffset, n), (e) => (e === 255 ? NaN : 2 ** (e - 127)));
    case 'BOOL': case 'U8': return Int32Array.from(new Uint8Array(buffer, byteOffset, n));
    case 'I8': return Int32Array.from(new Int8Array(buffer, byteOffset, n));
    case 'I16': return Int32Array.from(new Int16Array(buffer, byteOffset, n / 2));
    case 'U16': return Int32Array.from(new Uint16Array(buffer, byteOffset, n / 2));
    case 'I32': return new Int32Array(buffer, byteOffset, n / 4);
    case 'U32': return Int32Array.from(new Uint32Array(buffer, byteOffset, n / 4));
    case 'I64': return Int32Array.from(new BigInt64Array(buffer, byteOffset, n / 8), Number);
    case 'U64': return Int32Array.from(new BigUint64Array(buffer, byteOffset, n / 8), Number);
    default: return null;
  }
}

/** float32 values in a stored float type, rounded to nearest, ties to even. May share memory with `values` (F32). */
export function encode(values: Float32Array, dtype: FloatDtype): Uint8Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  switch (dtype) {
    case 'F32': return bytesOf(values);
    case 'F64': return bytesOf(Float64Array.from(values));
    case 'BF16': return narrow(bits, bitsToBfloat);
    case 'F16': return narrow(bits, bitsToHalf);
  }
}

export const bytesOf = (a: ArrayBufferView): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);

function widen(stored: Uint8Array | Uint16Array, toBits: (h: number) => number): Float32Array {
  const bits = new Uint32Array(stored.length);
  for (let i = 0; i < stored.length; i++) bits[i] = toBits(stored[i]);
  return new Float32Array(bits.buffer);
}

function narrow(bits: Uint32Array, toStored: (b: number) => number): Uint8Array {
  const out = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = toStored(bits[i]);
  return bytesOf(out);
}

function bitsToBfloat(b: number): number {
  if ((b & 0x7fffffff) > 0x7f800000) return (b >>> 16) | 0x40; // a NaN stays one
  return (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
}

function bitsToHalf(b: number): number {
  const sign = (b >>> 16) & 0x8000;
  const a = b & 0x7fffffff;
  if (a > 0x7f800000) return sign | 0x7e00;
  if (a >= 0x477ff000) return sign | 0x7c00; // 65520 and above round to infinity
  if (a >= 0x38800000) return sign | ((a - 0x38000000 + 0xfff + ((a >>> 13) & 1)) >>> 13);
  if (a < 0x33000000) return sign;
  const shift = 126 - (a >>> 23); // subnormal: units of 2^-24
  const m = (a & 0x7fffff) | 0x800000;
  const r = m >>> shift;
  const rest = m & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (rest > half || (rest === half && (r & 1) === 1) ? r + 1 : r);
}

function halfToBits(h: number): number {
  const sign = (h & 0x8000) << 16;
  const exponent = (h >>> 10) & 31;
  const fraction = h & 0x3ff;
  if (exponent === 31) return sign | 0x7f800000 | (fraction << 13);
  if (exponent !== 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  const up = Math.clz32(fraction) - 21; // shifts the leading one into the hidden bit
  return sign | ((113 - up) << 23) | (((fraction << up) & 0x3ff) << 13);
}

/** No infinities: all ones is NaN. */
function e4m3(h: number): number {
  const sign = h & 0x80 ? -1 : 1;
  const exponent = (h >>> 3) & 15;
  const fraction = h & 7;
  if (exponent === 15 && fraction === 7) return NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7));
}
