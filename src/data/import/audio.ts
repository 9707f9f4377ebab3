import { Field, Float32, Int32, List, Schema } from 'apache-arrow';
import { withMedia } from '../../formats/features.js';
import type { Row } from '../../formats/rows.js';
import { mediaField, texts } from './images.js';
import { batched, eachInput, type Importer } from './importer.js';
import { memberOptions, members, PathColumns } from './members.js';
import { decodeWav } from './wav.js';

const ENCODED = /\.(wav|flac|mp3|ogg|opus|m4a)$/i;
const DECODED = /\.wav$/i;

export const audio: Importer = {
  name: 'audio',
  summary: 'sounds in a folder, a tar archive or a file',
  extensions: ['.wav', '.flac', '.mp3', '.ogg'],
  options: {
    raw: { type: 'boolean', describe: 'write samples (float32 in [-1, 1], channels averaged) and their rate instead of the encoded bytes; WAV only, not resampled', default: false },
    ...memberOptions,
  },
  recognises: (head) => Buffer.from(head.subarray(0, 4)).toString('latin1') === 'RIFF',
  async read(inputs, options) {
    const columns = new PathColumns(options.pattern as string);
    const schema = options.raw
      ? new Schema([new Field('audio', new List(new Field('item', new Float32(), false)), false), new Field('sampling_rate', new Int32(), false), ...texts(['path', ...columns.names])])
      : withMedia(new Schema([mediaField('audio'), ...texts(columns.names)]), 'audio', 'Audio');
    const rows = eachInput(inputs, async function* (input): AsyncGenerator<Row> {
      for await (const { path, bytes } of members(input, options.raw ? DECODED : ENCODED, 'sounds')) {
        const row = columns.of(path, input.name);
        if (!options.raw) yield { audio: { bytes, path }, ...row };
        else {
          const { samples, rate } = decodeWav(bytes, `${input.name}: ${path}`);
          yield { audio: samples, sampling_rate: rate, path, ...row };
        }
      }
    });
    return { schema, batches: batched(schema, rows, bytesOf) };
  },
};

const bytesOf = ({ audio }: Row): number => (audio instanceof Float32Array ? audio.byteLength : (audio as { bytes: Uint8Array }).bytes.length);
