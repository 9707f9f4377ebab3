import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keepSupports, templates, type Support } from '../../src/tta/t3a.js';
import { maxDifference } from '../models/golden.js';

const warm: Support[] = [{ feature: [3, 4], entropy: 0.5, class: 0 }, { feature: [0, 2], entropy: 0.2, class: 1 }];

test('without images the templates are the normalised rows of the classifier', () => {
  templates(keepSupports(warm, 2, 1), 2).forEach((t, k) => assert.ok(maxDifference(t, [[0.6, 0.8], [0, 1]][k]) < 1e-12));
});

test('a template is the direction of the mean of its unit supports', () => {
  const [first] = templates([...warm, { feature: [100, 0], entropy: 0.1, class: 0 }], 2);
  assert.ok(maxDifference(first, [2 / Math.sqrt(5), 1 / Math.sqrt(5)]) < 1e-9);
});

test('a support less certain than all that are kept changes nothing; a surer one replaces the least sure', () => {
  const add = (entropy: number): Support[] => keepSupports([...warm, { feature: [1, 1], entropy, class: 0 }], 2, 1);
  assert.deepEqual(add(0.6), warm);
  assert.deepEqual(add(0.5), warm);
  assert.deepEqual(add(0.4)[0].feature, [1, 1]);
});
