import assert from 'node:assert/strict';
import { test } from 'node:test';
import { patternValue, targetSites, type Targets } from '../../src/adapters/targets.js';
import type { Model } from '../../src/models/model.js';
import type { Site } from '../../src/models/site.js';

const site = (name: string, kind: Site['kind'] = 'linear', role = 'any'): Site => ({ name, kind, layer: 0, role, dimIn: 4, dimOut: 4, weight: `${name}.weight` });

const MODEL = {
  type: 'bert', defaultTargets: ['query', 'value'],
  sites: [
    site('embeddings.word', 'embedding', 'embed'),
    ...[0, 1, 10].flatMap((i) => ['attention.self.query', 'attention.self.key', 'attention.self.value', 'output.dense'].map((m) => site(`encoder.layer.${i}.${m}`))),
    site('pooler.dense', 'linear', 'pooler'), site('classifier', 'linear', 'head'),
  ],
} as unknown as Model;

const names = (config: Targets): string[] => targetSites(MODEL, config).map((s) => s.name);

test('entries match a whole path or its end after a dot', () => {
  assert.equal(names({}).length, 6);
  assert.deepEqual(names({ targetModules: ['layer.1.attention.self.query'] }), ['encoder.layer.1.attention.self.query']);
  assert.deepEqual(names({ targetModules: ['pooler.dense'] }), ['pooler.dense']);
  assert.equal(names({ targetModules: ['dense'] }).length, 4);
  assert.throws(() => names({ targetModules: ['uery'] }), { status: 64, message: /'?uery.*self\.query/ });
});

test('a regular expression matches whole paths; exclusions win; blocks narrow', () => {
  assert.deepEqual(names({ targetModules: ['/.*layer\\.(0|1)\\..*key/'] }), ['encoder.layer.0.attention.self.key', 'encoder.layer.1.attention.self.key']);
  assert.throws(() => names({ targetModules: ['/self/'] }));
  assert.throws(() => names({ targetModules: ['/(/'] }), /regular expression/);
  assert.deepEqual(names({ excludeModules: ['value', '/.*layer\\.10.*/'] }), ['encoder.layer.0.attention.self.query', 'encoder.layer.1.attention.self.query']);
  assert.deepEqual(names({ layersToTransform: [10] }), ['encoder.layer.10.attention.self.query', 'encoder.layer.10.attention.self.value']);
});

test('all-linear leaves out the head and whatever is not linear', () => {
  const all = names({ targetModules: ['all-linear'] });
  assert.equal(all.length, 13);
  assert.ok(!all.includes('classifier') && !all.includes('embeddings.word'));
  assert.deepEqual(names({ targetModules: ['word'] }), ['embeddings.word']);
});

test('patterns: the first key that is the path or its end', () => {
  const at = (patterns: string[], path = 'encoder.layer.1.attention.self.query'): number => patternValue(patterns, path, 8);
  assert.equal(at(['query=4', 'layer.1.attention.self.query=2']), 4);
  assert.equal(at(['layer.\\d+.attention.self.(query|key)=2.5']), 2.5);
  assert.equal(at(['uery=4', 'self=3']), 8);
  assert.throws(() => at(['query']), /MODULE=NUMBER/);
  assert.throws(() => at(['query=']), /MODULE=NUMBER/);
});
