import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ModelConfig } from '../../src/formats/checkpoint.js';
import { blankModel } from '../../src/models/blank.js';
import { openSmall } from './golden.js';

/** Without the prefix of the class with the head. */
const bare = (name: string): string => name.replace(/^(bert|roberta|transformer|model|vit|resnet)\./, '');

for (const name of ['bert-classify', 'roberta-mlm', 'gpt2-clm', 'llama-clm', 'qwen2-clm', 'vit-classify', 'resnet-basic']) {
  test(`${name}: a blank model has the tensors of transformers' model, image classifiers their head, decoders an lm_head that is not tied`, async () => {
    const { checkpoint, model } = await openSmall(name);
    const theirs = model.input === 'text' ? /^(cls\.|classifier\.|lm_head\.(?!weight))/ : /^$/;
    const shapes = checkpoint.names().map((n): [string, number[]] => [bare(n), checkpoint.info(n).shape]).filter(([n]) => !theirs.test(n));
    const blank = await blankModel(checkpoint.config, 1);
    assert.deepEqual(Object.fromEntries(blank.map((t) => [bare(t.name), t.shape]).sort()), Object.fromEntries(shapes.sort()));
    assert.deepEqual(blank.map((t) => t.values.length), blank.map((t) => t.shape.reduce((a, b) => a * b, 1)));
    checkpoint.close();
  });
}

test('class token and positions of a blank ViT are drawn like its weights', async () => {
  const { checkpoint } = await openSmall('vit-classify');
  const blank = await blankModel({ ...checkpoint.config, initializer_range: 0.5 } as ModelConfig, 1);
  const spread = (name: string): number => {
    const { values } = blank.find((t) => t.name === name)!;
    return Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
  };
  for (const n of ['embeddings.position_embeddings', 'embeddings.patch_embeddings.projection.weight', 'encoder.layer.0.output.dense.weight']) assert.ok(Math.abs(spread(n) - 0.5) < 0.07, `${n}: ${spread(n)}`);
  checkpoint.close();
});

test('an lm_head of its own makes the names of a blank decoder those of the class with the head; without a word in config.json it is as transformers has it', async () => {
  const { checkpoint } = await openSmall('llama-clm'), gpt2 = await openSmall('gpt2-clm');
  const names = async (config: ModelConfig, tied?: boolean): Promise<string[]> => (await blankModel({ ...config, tie_word_embeddings: tied } as ModelConfig, 1)).map((t) => t.name);
  const untied = checkpoint.names().sort();
  assert.deepEqual((await names(checkpoint.config, false)).sort(), untied);
  assert.deepEqual((await names(checkpoint.config)).sort(), untied);
  assert.ok((await names(checkpoint.config, true)).every((n) => !/^model\.|lm_head/.test(n)));
  assert.ok((await names(gpt2.checkpoint.config)).every((n) => !/^transformer\.|lm_head/.test(n)));
  assert.ok((await names(gpt2.checkpoint.config, false)).includes('lm_head.weight'));
  checkpoint.close();
  gpt2.checkpoint.close();
});
