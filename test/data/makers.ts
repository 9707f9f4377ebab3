import sharp from 'sharp';

/** A square PNG, all its channels of one value. */
export const picture = (red: number, side = 4): Promise<Buffer> =>
  sharp(Buffer.alloc(side * side * 3, red), { raw: { width: side, height: side, channels: 3 } }).png().toBuffer();

/** A tar archive of these files; names over 100 bytes take a GNU record of their own. */
export function tar(files: Record<string, Uint8Array>): Buffer {
  const record = (name: string, content: Uint8Array, type: string): Buffer[] => {
    const header = Buffer.alloc(512);
    header.write(name.slice(0, 100), 0);
    header.write('0000644\0', 100);
    header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
    header.write(type, 156);
    header.write('ustar\x0000', 257, 'latin1');
    header.write('        ', 148);
    header.write(`${header.reduce((a, b) => a + b, 0).toString(8).padStart(6, '0')}\0 `, 148);
    return [header, Buffer.concat([content], Math.ceil(content.length / 512) * 512)];
  };
  const all = Object.entries(files).flatMap(([name, content]) => [...(name.length > 100 ? record('././@LongLink', Buffer.from(`${name}\0`), 'L') : []), ...record(name, content, '0')]);
  return Buffer.concat([...all, Buffer.alloc(1024)]);
}

/** A WAV file of 8000 Hz. */
export function wav(code: number, bits: number, channels: number, data: Buffer): Buffer {
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + data.length, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  [code, channels].forEach((v, i) => header.writeUInt16LE(v, 20 + 2 * i));
  header.writeUInt32LE(8000, 24);
  header.writeUInt16LE(bits, 34);
  header.write('data', 36);
  header.writeUInt32LE(data.length, 40);
  return Buffer.concat([header, data]);
}

/** MNIST's format. */
export const idx = (shape: number[], data: number[]): Buffer => {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header[2] = 8;
  header[3] = shape.length;
  shape.forEach((n, i) => header.writeUInt32BE(n, 4 + 4 * i));
  return Buffer.concat([header, Buffer.from(data)]);
};

/** A NumPy array of bytes. */
export const npy = (dtype: string, shape: number[], data: Uint8Array): Buffer => {
  const text = `{'descr': '${dtype}', 'fortran_order': False, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`.padEnd(117) + '\n';
  return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), Buffer.from(Uint16Array.of(text.length).buffer), Buffer.from(text), data]);
};
