import { Rng, useBackend } from '@graft/kernels';
import { distribution } from '@graft/kernels/distribution';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { endTokens } from '../../src/decoding/ending.js';
import { stopping } from '../../src/decoding/ending.js';
import { generate, type Task } from '../../src/decoding/generate.js';
import { processors, PROCESSOR_OPTIONS } from '../../src/decoding/processors.js';
import { loadDecoding } from '../../src/decoding/registry.js';
import type { SampleConfig } from '../../src/decoding/sample.js';
import { openRuntime } from '../../src/runtime.js';
import { FOLDER, ROOT } from '../models/golden.js';

before(() => useBackend('auto'));

interface Text { ids: number[]; score?: number }
/** What test/golden/generation.py wrote. */
const golden = JSON.parse(readFileSync(join(ROOT, 'test/golden/generation.json'), 'utf8')) as {
  prompts: number[][];
  options: Record<string, Record<string, unknown>>;
  models: Record<string, Record<string, Text[][]>>;
  warped: { logits: number[]; probabilities: Record<string, number[]> };
};

const NEUTRAL = Object.fromEntries(Object.entries(PROCESSOR_OPTIONS).map(([name, o]) => [name, o.default])) as Record<keyof typeof PROCESSOR_OPTIONS, number>;
const EARLY: Record<string, string> = { true: 'yes', never: 'never', undefined: 'no' };

for (const [name, cases] of Object.entries(golden.models)) {
  for (const [what, expected] of Object.entries(cases)) {
    test(`${name}, ${what}: the texts transformers generates, prompts of several lengths together`, async () => {
      const runtime = await openRuntime({ model: join(FOLDER, name) });
      const o = golden.options[what];
      const method = await loadDecoding(o.num_beams ? 'beam' : 'greedy');
      const endIds = endTokens(join(FOLDER, name), { endId: undefined } as never);
      const { process } = processors({ ...NEUTRAL, repetitionPenalty: Number(o.repetition_penalty ?? 1), noRepeatNgram: Number(o.no_repeat_ngram_size ?? 0), minNew: Number(o.min_new_tokens ?? 0) }, endIds);
      const config = { beams: o.num_beams, lengthPenalty: Number(o.length_penalty ?? 1), early: EARLY[String(o.early_stopping)] };
      const tasks = golden.prompts.map((ids): Task => {
        const setting = { endIds, maxNew: 9, process, ended: stopping(endIds, 9, [], { surface: () => '' }) };
        return { ids, search: method.start(ids, setting, config, Number(o.num_return_sequences ?? 1), () => new Rng(0)) };
      });
      const { texts } = generate(runtime, tasks, 9);
      texts.forEach((found, i) => {
        assert.deepEqual(found.map((t) => t.ids.slice(t.prompt)), expected[i].map((t) => t.ids), `prompt ${i}`);
        expected[i].forEach((t, k) => { if (t.score !== undefined) assert.ok(Math.abs(found[k].score - t.score) < 2e-5 * (1 + Math.abs(t.score)), `prompt ${i}: score ${found[k].score} for ${t.score}`); });
      });
      runtime.dispose();
    });
  }
}

for (const [name, expected] of Object.entries(golden.warped.probabilities)) {
  test(`sampling from ${name}: transformers' probabilities`, () => {
    const given = Object.fromEntries([...name.matchAll(/(\w+) ([\d.]+)/g)].map(([, k, v]) => [k, Number(v)]));
    const { ids, p } = distribution(Float32Array.from(golden.warped.logits), { temperature: 1, topK: 0, topP: 1, minP: 0, typical: 1, ...given } as SampleConfig);
    const got = expected.map((_, i) => (ids.includes(i) ? p[ids.indexOf(i)] : 0));
    got.forEach((x, i) => assert.ok(Math.abs(x - expected[i]) < 1e-6, `token ${i}: ${x} for ${expected[i]}`));
  });
}
