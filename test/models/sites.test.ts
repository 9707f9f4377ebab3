import { useBackend } from '@graft/kernels';
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { ActiveGraft } from '../../src/adapters/active.js';
import type { Site } from '../../src/models/site.js';
import { compute, openSmall } from './golden.js';

before(() => useBackend('auto'));

/** A graft that changes nothing and notes where it was asked. */
function spy(): { graft: ActiveGraft; asked: Set<string>; order: Site[] } {
  const asked = new Set<string>(), order: Site[] = [];
  const note = (site: Site): undefined => {
    if (!asked.has(`${site.kind} ${site.name}`)) order.push(site);
    asked.add(`${site.kind} ${site.name}`);
    return undefined;
  };
  const graft = {
    method: {}, positionOffset: 0, changes: () => true, replacement: () => undefined, rewritten: (_: Site, W: unknown) => W,
    change: note, attentionChange: note, tokensChange: note, firstTrainedLayer: () => Infinity,
  };
  return { graft: graft as unknown as ActiveGraft, asked, order };
}

for (const name of ['bert-classify', 'roberta-classify', 'gpt2-clm', 'llama-clm', 'vit-classify', 'resnet-bottleneck', 'unet-attends', 'unet-linear', 'unet-plain']) {
  test(`${name}: every site is declared once, in execution order, with its tensors, and called`, async () => {
    const { checkpoint, model, golden } = await openSmall(name);
    const keys = model.sites.map((s) => `${s.kind} ${s.name}`);
    assert.equal(new Set(keys).size, keys.length);
    model.sites.forEach((s, i) => assert.ok(i === 0 || s.layer >= model.sites[i - 1].layer, s.name));
    const { graft, asked, order } = spy();
    compute(model, checkpoint, golden, model.head!, [graft]);
    const owned = model.sites.filter((s) => s.role !== 'head' && s.role !== 'pooler');
    assert.deepEqual(owned.filter((s) => !asked.has(`${s.kind} ${s.name}`)), []);
    order.forEach((s, i) => assert.ok(i === 0 || s.layer >= order[i - 1].layer, s.name));
    for (const site of owned) checkShapes(site, (n) => (checkpoint.has(n) ? checkpoint.info(n).shape : undefined));
    const claimed = new Set(model.sites.flatMap((s) => [s.weight, s.bias, ...(s.norm?.type === 'batch' ? [`${s.name}.running_mean`, `${s.name}.running_var`] : [])]));
    const raw = checkpoint.names().filter((n) => !claimed.has(n) && !/cls_token|position_embeddings$/.test(n));
    assert.deepEqual(raw, [], 'tensors without a site');
    checkpoint.close();
  });
}

function checkShapes(site: Site, shape: (name: string) => number[] | undefined): void {
  if (!site.weight) return;
  const { dimIn, dimOut } = site;
  const expected = {
    linear: site.transposed ? [dimIn, dimOut] : [dimOut, dimIn], embedding: [dimIn, dimOut], norm: [dimIn],
    conv: [dimOut, dimIn, ...(site.conv?.kernel ?? [])],
  }[site.kind as string];
  assert.deepEqual(shape(site.weight), expected, site.name);
  if (site.bias && site.kind !== 'norm') assert.deepEqual(shape(site.bias), [dimOut], site.name);
}

test('an encoder file without the class prefix has the sites of its own names', async () => {
  const { checkpoint } = await openSmall('bert-classify');
  const bare = {
    path: checkpoint.path, config: { ...checkpoint.config, architectures: ['BertModel'] },
    has: (n: string) => !n.startsWith('classifier') && !n.startsWith('bert.') && checkpoint.has(`bert.${n}`),
    info: (n: string) => checkpoint.info(`bert.${n}`),
  };
  const { loadModel } = await import('../../src/models/registry.js');
  const model = await loadModel(bare);
  assert.equal(model.head, null);
  assert.ok(model.sites.some((s) => s.name === 'encoder.layer.0.attention.self.query'));
  assert.deepEqual(model.headTensors({ task: 'classify', labels: ['a', 'b'] }).map((t) => t.name), ['classifier.weight', 'classifier.bias']);
  assert.throws(() => model.headTensors({ task: 'clm' }), /a bert model has no head for 'clm'/);
  const without = { ...bare, has: (n: string) => !n.startsWith('pooler') && bare.has(n) };
  assert.deepEqual((await loadModel(without)).headTensors({ task: 'classify', labels: ['a'] }).map((t) => t.name),
    ['pooler.dense.weight', 'pooler.dense.bias', 'classifier.weight', 'classifier.bias']);
  await assert.rejects(loadModel({ ...bare, config: { model_type: 'gpt5' } }), /'gpt5' is not known: one of bert/);
  checkpoint.close();
});
