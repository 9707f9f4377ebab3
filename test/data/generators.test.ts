import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shapes10, SHAPES } from '../../src/data/generators/shapes10.js';
import { lexicon, TOPICS, topics } from '../../src/data/generators/topics.js';

test('shapes10 is balanced, seeded and uses its whole range', () => {
  const rows = [...shapes10(200, 1)];
  assert.deepEqual(SHAPES.map((_, c) => rows.filter((r) => r.label === c).length), SHAPES.map(() => 20));
  assert.deepEqual([...shapes10(200, 1)].map((r) => r.image), rows.map((r) => r.image));
  assert.notDeepEqual([...shapes10(1, 2)][0].image, rows[0].image);
  assert.ok(rows.every((r) => r.image.length === 3072 && Math.max(...r.image) - Math.min(...r.image) > 50));
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
