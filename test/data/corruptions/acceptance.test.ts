import assert from 'node:assert/strict';
import { test } from 'node:test';
import { corrupt } from '../../../src/data/corruptions/corruption.js';
import { corruptionsOf } from '../../../src/data/corruptions/registry.js';

/** S[i, j, c] = ⌊127.5 + 127.5·sin(2π((c + 1)i + 2j)/32)⌋ */
const S = Uint8Array.from({ length: 32 * 32 * 3 }, (_, k) => {
  const c = k % 3, j = Math.floor(k / 3) % 32, i = Math.floor(k / 96);
  return Math.floor(127.5 + 127.5 * Math.sin((2 * Math.PI * ((c + 1) * i + 2 * j)) / 32));
});

const meanDifference = (kind: string, severity: number): number => {
  const out = corrupt({ height: 32, width: 32, data: S }, corruptionsOf(kind)[0], { severity, seed: 0, row: 0 });
  return out.reduce((sum, v, i) => sum + Math.abs(v - S[i]), 0) / S.length;
};

test('the test image is the one of the published numbers', () => {
  assert.deepEqual([0, 3, 6, 9].map((i) => S[i]), [127, 176, 217, 245]);
  assert.ok(Math.abs(S.reduce((a, b) => a + b, 0) / S.length - 127.042) < 1e-3);
});

/** Mean absolute difference to S at severities 1…5. */
const EXPECTED: Record<string, number[]> = {
  defocus_blur: [1.285, 3.285, 5.145, 6.460, 10.049],
  zoom_blur: [25.901, 25.392, 30.406, 34.501, 39.877],
  brightness: [5.518, 9.881, 13.684, 16.437, 21.003],
  contrast: [20.208, 40.333, 48.375, 56.5, 68.688],
  pixelate: [3.773, 7.005, 8.662, 12.651, 16.587],
  gaussian_blur: [1.15, 4.791, 6.496, 8.41, 12.374],
  saturate: [53.673, 69.14, 12.503, 17.4, 20.078],
};

for (const [kind, expected] of Object.entries(EXPECTED)) {
  test(`${kind}: mean differences at the five severities`, () => {
    expected.forEach((value, i) => {
      const got = meanDifference(kind, i + 1);
      assert.ok(Math.abs(got - value) < 0.05, `severity ${i + 1}: ${got.toFixed(3)}, expected ${value}`);
    });
  });
}

test('jpeg_compression: mean differences within 10 %', () => {
  [10.8, 12, 14.06, 13.65, 11.61].forEach((value, i) => {
    const got = meanDifference('jpeg_compression', i + 1);
    assert.ok(Math.abs(got / value - 1) < 0.1, `severity ${i + 1}: ${got.toFixed(3)}, expected ${value}`);
  });
});

test('fixed_pattern: the same waves on every image, of the amplitude of the severity', () => {
  const at = (level: number): Uint8Array => corrupt({ height: 32, width: 32, data: new Uint8Array(32 * 32 * 3).fill(level) }, corruptionsOf('fp')[0], { severity: 5, seed: level, row: level });
  const [a, b] = [at(120), at(130)];
  a.forEach((v, o) => assert.ok(Math.abs(v - 120 - 0.3 * (S[o] + 0.5 - 127.5) * (255 / 127.5)) < 1.5 && Math.abs(b[o] - v - 10) <= 1, `${o}: ${v} ${b[o]}`));
});

test('all: the benchmark and its hold-outs, nothing of ours', () => {
  assert.equal(corruptionsOf('all').length, 18);
  assert.ok(!corruptionsOf('all').some((c) => c.name === 'fixed_pattern'));
});
