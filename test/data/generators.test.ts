import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SCENE_CLASSES, scenes } from '../../src/data/generators/scenes.js';
import { shapes10, SHAPES, shapesUnknown } from '../../src/data/generators/shapes10.js';
import { lexicon, TOPICS, topics } from '../../src/data/generators/topics.js';

test('shapes10 is balanced, seeded and uses its whole range', () => {
  const rows = [...shapes10(200, 1)];
  assert.deepEqual(SHAPES.map((_, c) => rows.filter((r) => r.label === c).length), SHAPES.map(() => 20));
  assert.deepEqual([...shapes10(200, 1)].map((r) => r.image), rows.map((r) => r.image));
  assert.notDeepEqual([...shapes10(1, 2)][0].image, rows[0].image);
  assert.ok(rows.every((r) => r.image.length === 3072 && Math.max(...r.image) - Math.min(...r.image) > 50));
});

test('unknown shapes are drawn apart from the ten, in turns', () => {
  const rows = [...shapesUnknown(6, 1)];
  assert.ok(rows.every((r) => r.is_ood && r.image.length === 3072));
  assert.deepEqual([...shapesUnknown(6, 1)], rows);
  // A half disc has nothing left of its middle, two lobes have nothing between them: the column of pixels there is all background.
  const spread = (image: Uint8Array, of: (k: number) => boolean): number => {
    const values = [...Array(1024).keys()].filter(of).map((k) => image[3 * k] + image[3 * k + 1] + image[3 * k + 2]);
    return Math.max(...values) - Math.min(...values);
  };
  const far = [...shapesUnknown(60, 2)].filter((_, i) => i % 3 === 1);
  const left = far.reduce((s, { image }) => s + spread(image, (k) => k % 32 < 11), 0) / far.length, all = far.reduce((s, { image }) => s + spread(image, () => true), 0) / far.length;
  assert.ok(left < 0.8 * all, `${left} against ${all}`);
});

test('a text tells its topic by the words of the topic\'s own', () => {
  const { own, words } = lexicon();
  const mine = own.map((parts) => new Set(Object.values(parts).flat()));
  const rows = [...topics(600, 3)];
  const guess = (text: string): number => {
    const counts = mine.map((set) => text.split(' ').filter((w) => set.has(w)).length);
    return counts.indexOf(Math.max(...counts));
  };
  const right = rows.filter((r) => guess(r.text) === r.label).length / rows.length;
  assert.ok(right > 0.8 && right < 1, `an oracle gets ${right}`);
  assert.equal(new Set(words).size, words.length);
  assert.equal(rows.filter((r) => r.label === 0).length, 600 / TOPICS.length);
});

test('scenes: every pixel has a class, all classes occur, and a shape stands out from its background', () => {
  const rows = [...scenes(60, 1)], seen = new Set(rows.flatMap((r) => [...r.mask]));
  assert.deepEqual([...seen].sort(), SCENE_CLASSES.map((_, c) => c));
  assert.deepEqual([...scenes(60, 1)], rows);
  for (const { image, mask } of rows) {
    assert.deepEqual([image.length, mask.length], [3072, 1024]);
    const luma = (wanted: boolean): number => {
      const at = [...mask.keys()].filter((k) => (mask[k] === mask[512]) === wanted);
      return at.reduce((s, k) => s + 0.299 * image[3 * k] + 0.587 * image[3 * k + 1] + 0.114 * image[3 * k + 2], 0) / at.length;
    };
    if (mask.every((c) => c === 0 || c === mask[512]) && mask[512] > 0) assert.ok(Math.abs(luma(true) - luma(false)) > 20);
  }
});
