import { dataError } from '../../errors.js';

/** Sound as numbers: channels averaged, samples in [−1, 1]. */
export interface Sound { samples: Float32Array; rate: number }

/**
 * Decodes RIFF WAVE: PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64. Nothing is resampled: the rate is the file's.
 * @throws GraftError (65) for anything else, and for a file that is cut short
 */
export function decodeWav(bytes: Uint8Array, where: string): Sound {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const bad = (what: string): Error => dataError(`${where}: ${what}`);
  const tag = (at: number): string => (at + 4 <= bytes.length ? Buffer.from(bytes.subarray(at, at + 4)).toString('latin1') : '');
  if (tag(0) !== 'RIFF' || tag(8) !== 'WAVE') throw bad('is not a WAV file');
  let format: { code: number; channels: number; rate: number; bits: number } | null = null;
  for (let at = 12; at + 8 <= bytes.length;) {
    const size = view.getUint32(at + 4, true), start = at + 8;
    if (tag(at) === 'fmt ' && start + 16 <= bytes.length) {
      const code = view.getUint16(start, true);
      // The extensible format keeps the real code in its sub-format.
      format = { code: code === 0xfffe && size >= 26 ? view.getUint16(start + 24, true) : code, channels: view.getUint16(start + 2, true), rate: view.getUint32(start + 4, true), bits: view.getUint16(start + 14, true) };
    }
    if (tag(at) === 'data') {
      if (!format) throw bad('its sound comes before its format');
      const read = reader(format.code, format.bits, view);
      if (!read || format.channels < 1 || format.rate < 1 || format.rate > 2 ** 31 - 1) throw bad(`has the encoding ${format.code} of ${format.bits} bits in ${format.channels} channels, which is not read`);
      if (start + size > bytes.length) throw bad('is cut short');
      const samples = mono(read, start, size, format.bits / 8, format.channels), odd = samples.findIndex((x) => !Number.isFinite(x));
      if (odd >= 0) throw bad(`sample ${odd + 1} is ${samples[odd]}, no sound`);
      return { samples, rate: format.rate };
    }
    at = start + size + (size & 1);
  }
  throw bad('is cut short or has no sound');
}

type Read = (at: number) => number;

function reader(code: number, bits: number, view: DataView): Read | null {
  switch (`${code}/${bits}`) {
    case '1/8': return (at) => (view.getUint8(at) - 128) / 128;
    case '1/16': return (at) => view.getInt16(at, true) / 32768;
    case '1/24': return (at) => ((view.getInt16(at + 1, true) << 8) | view.getUint8(at)) / 8388608;
    case '1/32': return (at) => view.getInt32(at, true) / 2147483648;
    case '3/32': return (at) => view.getFloat32(at, true);
    case '3/64': return (at) => view.getFloat64(at, true);
    default: return null;
  }
}

function mono(read: Read, start: number, size: number, width: number, channels: number): Float32Array {
  const samples = new Float32Array(Math.floor(size / (width * channels)));
  for (let i = 0; i < samples.length; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += read(start + (i * channels + c) * width);
    samples[i] = sum / channels;
  }
  return samples;
}
