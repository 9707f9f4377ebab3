import { Bool, Field, Int64, List, Schema, Utf8, type DataType } from 'apache-arrow';
import { SCENE_CLASSES, scenes } from '../../data/generators/scenes.js';
import { shapes10, SHAPES, shapesUnknown, SIZE } from '../../data/generators/shapes10.js';
import { roles, ROLE_TAGS, topics, TOPICS } from '../../data/generators/topics.js';
import { rawField } from '../../data/import/images.js';
import { maskField } from '../../data/mask.js';
import { writeTable } from '../../data/write.js';
import { usageError } from '../../errors.js';
import { withClassLabel } from '../../formats/features.js';
import { batchOf, type Row } from '../../formats/rows.js';
import { didYouMean } from '../../suggest.js';
import type { Operation } from './operation.js';

interface Generated { schema: Schema; rows(n: number, seed: number): Iterable<Row> }

const label = new Field('label', new Int64(), true); // `datasets` takes class names for nullable columns only

const list = (name: string, item: DataType): Field => new Field(name, new List(new Field('item', item, true)), true);

const GENERATORS: Record<string, Generated> = {
  shapes10: {
    schema: withClassLabel(new Schema([rawField('image', [SIZE, SIZE, 3]), label]), 'label', SHAPES),
    rows: shapes10,
  },
  'shapes-unknown': { schema: new Schema([rawField('image', [SIZE, SIZE, 3]), new Field('is_ood', new Bool(), false)]), rows: shapesUnknown },
  scenes: { schema: new Schema([rawField('image', [SIZE, SIZE, 3]), maskField('mask', [SIZE, SIZE], SCENE_CLASSES)]), rows: scenes },
  topics: { schema: withClassLabel(new Schema([new Field('text', new Utf8(), false), label]), 'label', TOPICS), rows: topics },
  roles: {
    schema: withClassLabel(new Schema([list('tokens', new Utf8()), list('tags', new Int64())]), 'tags', ROLE_TAGS),
    rows: roles,
  },
};

const BATCH = 512;

const operation: Operation = {
  name: 'make',
  summary: 'make data: shapes10 (pictures of ten shapes), shapes-unknown (of three others), scenes (pictures of several shapes with the class of every pixel), topics (texts of a small language about six topics), roles (sentences of it, tagged)',
  operands: Object.keys(GENERATORS).join('|'),
  options: { n: { type: 'number', alias: 'n', metavar: 'N', describe: 'rows', default: 1000, min: 1 } },
  async run(args) {
    const [name, ...more] = args._, generator = Object.hasOwn(GENERATORS, name ?? '') ? GENERATORS[name] : null, names = Object.keys(GENERATORS);
    if (name !== undefined && !generator) throw usageError(`unknown kind of data '${name}': one of ${names.join(', ')}${didYouMean(name, names)}`);
    if (!generator || more.length > 0) throw usageError(`make takes one of ${names.join(', ')}`);
    const { schema, rows } = generator;
    async function* batches() {
      let held: Row[] = [];
      for (const row of rows(args.n, args.seed)) if (held.push(row) === BATCH) yield batchOf(schema, held.splice(0));
      if (held.length > 0) yield batchOf(schema, (held = held.splice(0)));
    }
    await writeTable(args.output, schema, batches());
  },
};

export default operation;
