import { distribution, draw } from '@graft/kernels/distribution';
import { Rng } from '@graft/kernels/random';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import beam from '../../src/decoding/beam.js';
import greedy from '../../src/decoding/greedy.js';
import type { Finished, Search, Sequence, Setting } from '../../src/decoding/method.js';
import { countPenalty, noRepeatNgram, repetitionPenalty } from '../../src/decoding/processors.js';
import sample from '../../src/decoding/sample.js';

/** The language of S3: A, B and E, which ends a text. */
const [A, B, E] = [0, 1, 2];
function next(ids: readonly number[]): Float32Array {
  const p = ids.length === 0 ? [0.5, 0.4, 0.1] : ids.length === 1 && ids[0] === A ? [0.25, 0.35, 0.4] : [0.05, 0.05, 0.9];
  return Float32Array.from(p, Math.log);
}

const setting = (maxNew = 3): Setting => ({
  endIds: new Set([E]), maxNew, process: () => undefined,
  ended: ({ ids }) => (ids.at(-1) === E ? 'end' : ids.length >= maxNew ? 'length' : null),
});

function run(search: Search): Finished[] {
  let texts: number[][] = Array.from({ length: search.width }, () => []);
  while (texts.length > 0) {
    const choices = search.step(texts.map(next));
    texts = choices.map((c) => [...texts[c.parent], c.token]);
  }
  return search.results();
}

const spell = ({ ids }: Sequence): string => ids.map((i) => 'ABE'[i]).join('');
const close = (a: number, b: number): void => assert.ok(Math.abs(a - b) < 1e-5, `${a} for ${b}`);
const rng = (i: number): Rng => new Rng('search', i);

test('greedy takes A, then the end', () => {
  const [text] = run(greedy.start([], setting(), {}, 1, rng));
  assert.equal(spell(text), 'AE');
  close(text.score, Math.log(0.2));
});

test('two beams find BE; a long text wins where the search may wait for it', () => {
  const find = (lengthPenalty: number, early: string): Finished => run(beam.start([], setting(), { beams: 2, lengthPenalty, early } as never, 1, rng))[0];
  for (const [alpha, early, text, score] of [[0, 'no', 'BE', -1.021651], [1, 'no', 'BE', -0.510826], [2, 'no', 'BE', -0.255413], [2, 'never', 'ABE', -0.205361]] as const) {
    const found = find(alpha, early);
    assert.equal(spell(found), text, `exponent ${alpha}, early ${early}`);
    close(found.score, score);
  }
});

test('penalties change the scores they should', () => {
  const after = (rule: ReturnType<typeof repetitionPenalty>, scores: number[], ids: number[], prompt = 0): number[] => {
    const out = Float32Array.from(scores);
    rule(out, { ids, prompt, score: 0 });
    return [...out].map((x) => Math.round(x * 1e6) / 1e6);
  };
  assert.deepEqual(after(repetitionPenalty(1.2), [2, -1, 0.5], [0, 1, 2, 2]), [1.666667, -1.2, 0.416667]);
  assert.deepEqual(after(countPenalty(0.5, 0.25), [1, 1, 1], [0, 1, 1], 1), [1, 0, 1], 'the prompt does not count');
  assert.deepEqual(after(noRepeatNgram(2), [1, 1, 1], [0, 1, 2, 0]), [1, -Infinity, 1]);
  assert.deepEqual(after(noRepeatNgram(1), [1, 1, 1], [0, 2]), [-Infinity, 1, -Infinity]);
});

test('the nucleus is the fewest tokens that hold P', () => {
  const logits = Float32Array.from([0.5, 0.3, 0.15, 0.05], Math.log), plain = { temperature: 1, topK: 0, topP: 1, minP: 0, typical: 1 };
  const two = distribution(logits, { ...plain, topP: 0.75 });
  assert.deepEqual(two.ids, [0, 1]);
  close(two.p[0], 0.625);
  close(two.p[1], 0.375);
  assert.equal(distribution(logits, { ...plain, topP: 0.85 }).ids.length, 3);
  assert.deepEqual(distribution(Float32Array.of(1, 2, 2, 0), { ...plain, topK: 1 }).ids, [1, 2], 'equals of the last stay');
});

test('draws follow the distribution', () => {
  assert.deepEqual([0, 0.249, 0.25, 0.749, 0.75, 0.9999].map((u) => draw({ ids: [7, 3, 9], p: [0.25, 0.5, 0.25] }, u).token), [7, 7, 3, 3, 9, 9]);
  const texts = run(sample.start([], setting(1), { temperature: 1, topK: 0, topP: 1, minP: 0, typical: 1 } as never, 4000, rng));
  const share = [A, B, E].map((id) => texts.filter((t) => t.ids[0] === id).length / 4000);
  [0.5, 0.4, 0.1].forEach((p, i) => assert.ok(Math.abs(share[i] - p) < 0.025, `${share[i]} for ${p}`));
});
