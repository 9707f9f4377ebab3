import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { LONG } from '../support/long.js';
import { scratch, tinyDecoder } from '../support/tiny.js';
import { tinyResnet } from '../tta/support.js';
import { flood, pictures, predictions, prompts, texts } from './flood.js';

const folder = scratch();
mkdirSync(join(folder, 'net'));
const resnet = tinyResnet(join(folder, 'net'));

const decoder = tinyDecoder(folder);

const MB = 1e6;
/** How much goes through: in the long version more than a laptop's memory should have to hold. */
const size = (short: number, long: number): number => (LONG ? long : short) * MB;

const STREAMS: { name: string; args: string[]; parts: ReturnType<typeof pictures>; bytes: number; said?: RegExp }[] = [
  { name: 'data select', args: ['data', 'select', '--where', 'label!=3', '-q'], parts: pictures(), bytes: size(200, 4000) },
  { name: 'data sample', args: ['data', 'sample', '--fraction', '0.5', '-q'], parts: texts(), bytes: size(200, 4000) },
  { name: 'data tail', args: ['data', 'tail', '-n', '100', '-q'], parts: pictures(), bytes: size(200, 4000) },
  { name: 'data concat', args: ['data', 'concat', '-q'], parts: texts(), bytes: size(200, 4000) },
  { name: 'data corrupt', args: ['data', 'corrupt', '--kind', 'brightness', '-q'], parts: pictures(), bytes: size(4, 40) },
  { name: 'convert', args: ['convert', '--to', 'arrow', '-q'], parts: texts(), bytes: size(200, 4000) },
  { name: 'eval of predictions', args: ['eval', '--metrics', 'accuracy', '-q'], parts: predictions(), bytes: size(200, 4000), said: /"metric":"accuracy"/ },
  { name: 'eval with a model', args: ['eval', '-m', resnet, '--predictions', join(folder, 'p'), '-q'], parts: pictures(), bytes: size(4, 40), said: /"metric":"accuracy"/ },
  { name: 'generate', args: ['generate', '-m', decoder, '--max-new', '2', '--max-length', '8', '-q'], parts: prompts(), bytes: size(1, 20) },
  { name: 'tta', args: ['tta', '-m', resnet, '--method', 'bn-adapt', '-q'], parts: pictures(), bytes: size(4, 40) },
];

for (const { name, args, parts, bytes, said } of STREAMS) {
  test(`${name}: memory does not grow with the stream`, { skip: existsSync('/proc/self/status') ? false : 'needs /proc' }, async (t) => {
    const f = await flood(args, parts, bytes);
    assert.equal(f.status, 0, f.stderr);
    assert.equal(f.stderr, '');
    assert.ok(f.out > 0);
    if (said) assert.match(f.text, said);
    const early = Math.max(...f.tenths.slice(0, 3)), late = Math.max(...f.tenths.slice(7));
    const figures = `${(bytes / MB).toFixed()} MB in ${f.seconds.toFixed()} s, resident ${f.tenths.map((m) => m.toFixed()).join(' ')} MB`;
    t.diagnostic(figures);
    assert.ok(late < Math.max(1.25 * early, early + 60), figures);
  });
}
