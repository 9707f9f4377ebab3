// Segmentation from the command line: masks in, a head trained, measured, adapted.
import { Binary, Field, Schema } from 'apache-arrow';
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import sharp from 'sharp';
import { maskField } from '../../src/data/mask.js';
import { scenes, SCENE_CLASSES } from '../../src/data/generators/scenes.js';
import { rawField } from '../../src/data/import/images.js';
import { readArrow } from '../../src/formats/arrow.js';
import { readSafetensors } from '../../src/formats/safetensors.js';
import { rowsOf, type Row } from '../../src/formats/rows.js';
import { denseNames } from '../../src/tta/registry.js';
import { graft, must, scratch } from '../support/tiny.js';
import { arrow, type ImageRow } from '../tta/support.js';

const folder = scratch(), at = (name: string): string => join(folder, name);
const LABELS = { num_labels: 5, id2label: Object.fromEntries(SCENE_CLASSES.map((c, i) => [i, c])) };
const CONFIGS = {
  resnet: { model_type: 'resnet-cifar', architectures: ['ResNetCifarForSemanticSegmentation'], depth: 8, decoder_hidden_size: 8, ...LABELS },
  vit: { model_type: 'vit', architectures: ['ViTForSemanticSegmentation'], hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 16, image_size: 32, patch_size: 8, decoder_hidden_size: 8, ...LABELS },
};
const shifted = (): Buffer => must(['data', 'corrupt', '--kind', 'fog', '--severity', '5', '-q', at('test.arrow')]);

before(() => {
  must(['data', 'make', 'scenes', '-n', '48', '--seed', '1', '-q', '-o', at('train.arrow')]);
  must(['data', 'make', 'scenes', '-n', '12', '--seed', '2', '-q', '-o', at('test.arrow')]);
  writeFileSync(at('fog.arrow'), shifted());
  for (const [name, config] of Object.entries(CONFIGS)) {
    writeFileSync(at(`${name}.json`), JSON.stringify(config));
    must(['init-model', '-c', at(`${name}.json`), '-o', at(`blank-${name}`)]);
    must(['init-adapter', '-m', at(`blank-${name}`), '--method', 'full', '-o', at('start')]);
    must(['train', '-m', at(`blank-${name}`), '-g', at('start'), '-d', at('train.arrow'), '--epochs', '4', '--batch-size', '12', '--lr', '0.01', '-q', '-o', at(`${name}.graft`)]);
    must(['merge', '-m', at(`blank-${name}`), '-g', at(`${name}.graft`), '-q', '-o', at(name)]);
  }
});

const values = (out: Buffer): Record<string, number> => Object.fromEntries(out.toString().trim().split('\n').map((l) => JSON.parse(l) as { metric: string; value: number }).map((r) => [r.metric, r.value]));

async function rows(bytes: Buffer): Promise<Row[]> {
  const { batches } = await readArrow('rows', (async function* () { yield bytes; })()), all: Row[] = [];
  for await (const batch of batches) all.push(...rowsOf(batch));
  return all;
}

for (const name of Object.keys(CONFIGS)) {
  test(`${name}: training lowers the loss; predictions, merged or not, measure the same`, async () => {
    const own = values(must(['eval', '-m', at(name), '-d', at('test.arrow'), '--predictions', at('predicted.arrow'), '-q']));
    assert.deepEqual(values(must(['eval', '-d', at('predicted.arrow'), '-q'])), own);
    assert.deepEqual(values(must(['eval', '-m', at(`blank-${name}`), '-g', at(`${name}.graft`), '-d', at('test.arrow'), '-q'])), own);
    const blank = values(must(['eval', '-m', at(`blank-${name}`), '-d', at('test.arrow'), '-q']));
    assert.ok(own['pixel-accuracy'] > blank['pixel-accuracy'] + 0.2, `${own['pixel-accuracy']} after training, ${blank['pixel-accuracy']} before`);
    const source = must(['tta', '-m', at(name), '--method', 'source', '-d', at('test.arrow'), '-q']);
    assert.deepEqual((await rows(source)).map((r) => r.pred_mask), (await rows(readFileSync(at('predicted.arrow')))).map((r) => r.pred_mask));
    assert.deepEqual(values(must(['eval', '-q'], source)), own);
  });
}

const OPTIONS: Record<string, string> = { tent: '--lr 0.05', core: '--lr 0.05', ostta: '--lr 0.05', eata: '--lr 0.05 --margin 1 --similarity 2', sar: '--lr 1 --margin 1 --recovery 0', cotta: '--lr 0.05 --p-th 1.01 --n-aug 4' };

const adapted = (name: string, method: string, ...more: string[]): string[] => ['tta', '-m', at(name), '--method', method, '--batch-size', '4', '-q', ...(OPTIONS[method]?.split(' ') ?? []), ...more];

test('methods that treat pixels as rows adapt; what the log says of the pixels is so', async () => {
  const source = await rows(must(adapted('resnet', 'source', '-d', at('fog.arrow'))));
  for (const method of (await denseNames()).filter((m) => m !== 'source')) {
    const whole = await rows(must(adapted('resnet', method, '-d', at('fog.arrow'), '--log', at('log'))));
    assert.notDeepEqual(whole.map((r) => r.pred_mask), source.map((r) => r.pred_mask), `${method} changes nothing`);
    const log = readFileSync(at('log'), 'utf8').trim().split('\n').map((l) => JSON.parse(l) as Record<string, number>).filter((e) => e.accuracy !== undefined);
    assert.equal(log.length, 3);
    for (const [b, { accuracy }] of log.entries()) {
      const pixels = whole.slice(4 * b, 4 * b + 4).flatMap((r) => [...(r.mask as Uint8Array)].map((c, k) => Number(c === (r.pred_mask as Uint8Array)[k])));
      assert.ok(Math.abs(accuracy - pixels.reduce((a, c) => a + c, 0) / pixels.length) < 1e-6);
    }
  }
});

for (const [name, method] of [['resnet', 'cotta'], ['vit', 'tent']]) {
  test(`${name}: ${method} goes on from its state`, async () => {
    const whole = await rows(must(adapted(name, method, '-d', at('fog.arrow'), '--save-graft', at(`learnt-${name}`))));
    const parts = [['head', '-n', '8'], ['tail', '-n', '4']].map((part) => must(adapted(name, method, '--state', at(`state-${name}`), '--save-graft', at(`parted-${name}`)), must(['data', ...part, '-q', at('fog.arrow')])));
    assert.deepEqual([...await rows(parts[0]), ...await rows(parts[1])].map((r) => r.pred_mask), whole.map((r) => r.pred_mask));
    const [learnt, parted] = ['learnt', 'parted'].map((n) => readSafetensors(readFileSync(at(`${n}-${name}`)), n).tensors);
    for (const [n, t] of learnt) assert.deepEqual(parted.get(n)!.data, t.data, n);
    must(['eval', '-m', at(name), '-g', at(`learnt-${name}`), '-d', at('fog.arrow'), '-q']);
  });
}

test('a graft brings the head to a classifier: its statistics move while low-rank matrices train', async () => {
  writeFileSync(at('classifier.json'), JSON.stringify({ model_type: 'resnet-cifar', depth: 8, num_labels: 3, decoder_hidden_size: 8 }));
  must(['init-model', '-c', at('classifier.json'), '-o', at('classifier')]);
  must(['init-adapter', '-m', at('classifier'), '--method', 'lora', '--rank', '2', '--task', 'segment', '--labels-from', at('train.arrow'), '-o', at('lora')]);
  must(['train', '-m', at('classifier'), '-g', at('lora'), '-d', at('train.arrow'), '--epochs', '2', '--batch-size', '12', '--lr', '0.01', '-q', '-o', at('lora.graft')]);
  const { tensors } = readSafetensors(readFileSync(at('lora.graft')), 'lora.graft');
  const variance = new Float32Array(tensors.get('segmentation_head.conv_fuse.normalization.running_var')!.data.slice().buffer);
  assert.ok(variance.every((v) => v !== 1));
  const under = must(['eval', '-m', at('classifier'), '-g', at('lora.graft'), '-d', at('test.arrow'), '-q']);
  must(['merge', '-m', at('classifier'), '-g', at('lora.graft'), '-q', '-o', at('merged')]);
  const merged = values(must(['eval', '-m', at('merged'), '-d', at('test.arrow'), '-q']));
  for (const [metric, value] of Object.entries(values(under))) assert.ok(Math.abs(merged[metric] - value) < 1e-3, metric);
});

test('masks are PNG or raw bytes, of the image\'s size or brought to it, and 255 is not scored', async () => {
  const [{ image, mask }] = scenes(1, 5), partly = mask.map((c, k) => (k < 512 ? 255 : c));
  const encoded = async (side: number): Promise<Buffer> => sharp(Buffer.from(partly), { raw: { width: 32, height: 32, channels: 1 } }).resize(side, side, { kernel: 'nearest' }).toColourspace('b-w').png().toBuffer();
  const schemas = { png: new Schema([rawField('image', [32, 32, 3]), new Field('mask', new Binary())]), raw: new Schema([rawField('image', [32, 32, 3]), maskField('mask', [32, 32], SCENE_CLASSES)]) };
  const measured = async (schema: Schema, given: Uint8Array): Promise<Record<string, number>> => values(must(['eval', '-m', at('resnet'), '-q'], await arrow([{ image, mask: given }] as unknown as ImageRow[], schema)));
  const raw = await measured(schemas.raw, partly);
  assert.deepEqual(await measured(schemas.png, await encoded(32)), raw);
  assert.deepEqual(await measured(schemas.png, await encoded(64)), raw);
  const full = await measured(schemas.raw, mask);
  assert.notEqual(full['pixel-accuracy'], raw['pixel-accuracy']);
});

test('what is wrong with masks is said in a line', async () => {
  const [{ image, mask }] = scenes(1, 5);
  const failing = async (field: Field, given: unknown, args = ['eval', '-m', at('resnet')]): Promise<string> => {
    const { status, stderr } = graft([...args, '-q'], await arrow([{ image, mask: given }] as unknown as ImageRow[], new Schema([rawField('image', [32, 32, 3]), field])));
    assert.equal(status, 65);
    return stderr;
  };
  const binary = new Field('mask', new Binary());
  const coloured = await sharp(Buffer.from(image), { raw: { width: 32, height: 32, channels: 3 } }).png().toBuffer();
  assert.match(await failing(binary, coloured), /row 1: mask: is a picture in colour; the class of a pixel is its grey value/);
  assert.match(await failing(binary, Uint8Array.of(1, 2, 3)), /mask: cannot be decoded/);
  assert.match(await failing(maskField('mask', [32, 32], []), mask.map(() => 9)), /row 1: the mask has class 9, the head has 5 classes \(255 is for pixels of none\)/);
  assert.match(await failing(maskField('mask', [32, 31], []), mask), /mask: has 1024 bytes, not 32×31/);
  const unnamed = must(['data', 'select', '--drop', 'mask', '-q', at('test.arrow')]);
  const missing = graft(['eval', '-m', at('resnet'), '-q'], unnamed);
  assert.equal(missing.status, 65);
  assert.match(missing.stderr, /mask/);
});

test('a method that needs classes of images is refused', () => {
  const { status, stderr } = graft(['tta', '-m', at('resnet'), '--method', 'lame', '-d', at('fog.arrow'), '-q']);
  assert.equal(status, 64);
  assert.match(stderr, /lame adapts classifiers alone; segmentation is adapted by source, bn-adapt, tent, /);
});
