import { fittedPixels, rawShape, tensorOf, type Pixels } from '../data/image-input.js';
import { fittedMask } from '../data/mask.js';
import { dataError } from '../errors.js';
import { UNLABELLED } from '../metrics/segmentation.js';
import { classMaps } from '../predictions.js';
import { where } from './classify.js';
import type { Example, Objective } from './objective.js';
import { classOptions, classWeights, IGNORED, totalLoss } from './scored.js';

interface Mapped extends Example { image: Pixels; mask: Uint8Array; weights?: number[] }

/** Cross-entropy of the class of every pixel: `mask` holds them, one byte a pixel, 255 where none is said. */
const segment: Objective<Mapped> = {
  name: 'segment',
  summary: 'one label a pixel: semantic segmentation',
  task: 'segment',
  kind: 'mask',
  metric: { name: 'miou', larger: true },
  options: classOptions,
  reads: () => ['image'],
  require: (table) => table.requireColumns(['image', 'mask']),

  async prepare(rows, first, p) {
    const { runtime, table } = p, size = runtime.model.imageSize ?? null, classes = runtime.head!.labels!.length;
    const [image, mask] = ['image', 'mask'].map((name) => rawShape(table.schema.fields.find((f) => f.name === name)?.metadata));
    return Promise.all(rows.map(async (row, i) => {
      const at = where(p, first + i), pixels = await fittedPixels(row.image, image, size, at);
      if (p.unlabelled && !row.mask) return { length: 1, image: pixels, mask: new Uint8Array(pixels.height * pixels.width).fill(UNLABELLED) };
      const given = await fittedMask(row.mask, mask, size, `${at}: mask`);
      if (given.height !== pixels.height || given.width !== pixels.width) throw dataError(`${at}: the mask is ${given.height}×${given.width}, the image ${pixels.height}×${pixels.width}`);
      const wrong = given.data.find((c) => c >= classes && c !== UNLABELLED);
      if (wrong !== undefined) throw dataError(`${at}: the mask has class ${wrong}, the head has ${classes} classes (${UNLABELLED} is for pixels of none)`);
      return { length: 1, image: pixels, mask: given.data };
    }));
  },

  arrange(examples, p) {
    const weights = classWeights(labelled(examples), p);
    return weights ? examples.map((e) => ({ ...e, weights })) : examples;
  },

  batch(examples) {
    const { length } = examples[0].mask, labels = new Int32Array(examples.length * length);
    examples.forEach(({ mask }, i) => mask.forEach((c, k) => { labels[i * length + k] = c === UNLABELLED ? IGNORED : c; }));
    const { weights: each } = examples[0], weights = each && Float32Array.from(labels, (c) => (c === IGNORED ? 0 : each[c]));
    const count = weights ? weights.reduce((a, b) => a + b, 0) : labels.reduce((n, c) => n + Number(c !== IGNORED), 0);
    return { inputs: tensorOf(examples.map((e) => e.image)), targets: { count, labels, weights } };
  },

  loss: totalLoss,

  outputs: (logits, examples) => {
    const maps = classMaps(logits.dataSync() as Float32Array, examples.length, logits.shape.at(-1)!);
    return examples.map((e, i) => ({ pred_mask: maps[i], mask: e.mask }));
  },
};

export default segment;

function* labelled(examples: readonly Mapped[]): Generator<number> {
  for (const { mask } of examples) for (const c of mask) if (c !== UNLABELLED) yield c;
}
