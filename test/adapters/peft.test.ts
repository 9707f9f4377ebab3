import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { tf, useBackend } from '@graft/kernels';
import codyra from '../../src/adapters/codyra.js';
import increlora from '../../src/adapters/increlora.js';
import { activate, toGraft } from '../../src/adapters/instantiate.js';
import type { Method } from '../../src/adapters/method.js';
import triadaptlora from '../../src/adapters/triadaptlora.js';
import { asPlainLora } from '../../src/conversion.js';
import { readGraft } from '../../src/formats/graft.js';
import { alignNames } from '../../src/formats/naming.js';
import { writePeft } from '../../src/formats/peft.js';
import { Forward } from '../../src/models/forward.js';
import type { Graft } from '../../src/formats/graft.js';
import { maxDifference, ROOT } from '../models/golden.js';
import { scratch } from '../support/tiny.js';
import { active, bench, fresh, randomised, type Bench } from './support.js';

const FOLDER = join(ROOT, 'test/golden/peft-methods');
const GOLDEN = JSON.parse(readFileSync(join(FOLDER, 'logits.json'), 'utf8')) as Record<string, { checkpoint: string; logits: number[] }>;

const SCRATCH = scratch();

before(() => useBackend('auto'));

for (const [name, { checkpoint, logits }] of Object.entries(GOLDEN)) {
  test(`${name}: PEFT's adapter gives PEFT's logits, and is written back as it was`, async () => {
    const b = await bench(checkpoint);
    const graft = await readGraft(join(FOLDER, name));
    const difference = maxDifference(await apply(b, graft), logits);
    assert.ok(difference < 1e-5 * Math.max(1, ...logits.map(Math.abs)), `off by ${difference}`);

    const folder = join(SCRATCH, name);
    mkdirSync(folder);
    await writePeft(folder, asPlainLora({ ...graft, base: b.checkpoint.fingerprint() }));
    const again = await readGraft(folder);
    assert.deepEqual([...again.tensors.keys()].sort(), [...graft.tensors.keys()].sort());
    for (const [n, t] of graft.tensors) assert.ok(Buffer.from(t.data).equals(Buffer.from(again.tensors.get(n)!.data)), n);
    assert.equal(maxDifference(await apply(b, again), await apply(b, graft)), 0);
    b.checkpoint.close();
  });
}

for (const [method, config] of [[codyra, { rank: 3 }], [increlora, { rank: 2, allocated: true }], [triadaptlora, { rank: 2 }]] as [Method<any>, object][]) { // eslint-disable-line @typescript-eslint/no-explicit-any
  test(`${method.name}: what it allocated is plain LoRA for PEFT`, async () => {
    const b = await bench('bert-classify'), start = fresh(b, method, config as never);
    const random = active(b, method, randomised({ ...start, config: { ...start.config, ...config } }), true);
    // A module without a rank left.
    const gate = [...random.trained].find(([name]) => name.endsWith('lora_gate'))?.[1];
    gate?.assign(tf.zerosLike(gate));
    const graft = toGraft(random, start), folder = join(SCRATCH, method.name);
    mkdirSync(folder);
    await writePeft(folder, asPlainLora(graft));
    const again = await readGraft(folder);
    assert.equal(again.method, 'lora');
    assert.ok(maxDifference(await apply(b, again), await apply(b, graft)) < 1e-5);
    assert.equal([...again.tensors.keys()].filter((n) => n.endsWith('lora_A.weight')).length, method.sites(b.model, start.config).length - (gate ? 1 : 0));
    b.checkpoint.close();
  });
}

/** Logits at positions that are not padding. */
async function apply(b: Bench, given: Graft): Promise<number[]> {
  const graft = alignNames(given, b.checkpoint);
  const active = await activate(graft, b.model);
  const { attention_mask: mask } = b.golden;
  const z = tf.tidy(() => {
    // Row i of the golden batches is of task i mod 3.
    const f = new Forward(b.model.sites, b.checkpoint, [active], { route: { task: b.golden.input_ids?.map((_, i) => String(i % 3)) } });
    const { types: _, ...batch } = { types: undefined, ...b.batch };
    return b.model.logits(f, b.model.backbone(f, batch), graft.head ?? b.head);
  });
  const values = [...z.dataSync()];
  const width = z.shape.at(-1)!;
  active.dispose();
  return z.rank === 3 && mask ? mask.flat().flatMap((m, i) => (m ? values.slice(i * width, (i + 1) * width) : [])) : values;
}
