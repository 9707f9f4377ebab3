// Attention by products in bf16, which graft-cuda has alone: cuda.test.ts runs this on the emulator, test:gpu on a card.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { tf, useBackend } from '../src/index.js';
import { agrees, BACKEND, NAME, random, skip as missing, type Data } from './against.js';
import { CASES, HIDDEN, inputs, name, ROOM, run, type Case } from './attention-cases.js';

const skip = missing || (NAME === 'cuda' ? false : 'graft-cpu forms attention in single precision');
before(async () => { if (!skip) await useBackend(NAME, { precision: 'bf16' }); });

/** Values that bf16 has. */
const rounded = (d: Data): Data => {
  const bits = new Uint32Array(Float32Array.from(d.values).buffer).map((u) => (u + 0x7fff + ((u >>> 16) & 1)) & 0xffff0000);
  return { ...d, values: [...new Float32Array(bits.buffer)] };
};

/** Heads of each size kernels are made for, over several tiles of queries and of keys. */
const WIDE: Case[] = [64, 80, 128, 200].map((dh) => ({ B: 1, Tq: 75, Tk: 75, H: 2, Hkv: 1, dh, causal: true }));

test('weights are rounded to bf16, and nothing else where the operands have no more', { skip }, () => {
  for (const c of [...CASES, ...HIDDEN, ...ROOM, ...WIDE]) agrees(name(c), run(c), inputs(c).map(rounded), { tolerance: 4e-3 });
});

test('so are the gradients of scores', { skip }, () => {
  for (const c of [...CASES, ...HIDDEN, ...WIDE]) {
    const dy = rounded(random([c.B, c.Tq, c.H, c.dh], 'float32', 0.5));
    agrees(`gradients of ${name(c)}`, (...t) => tf.grads(run(c))(t, tf.tensor(dy.values, dy.shape)), inputs(c).map(rounded), { tolerance: 1e-2 });
  }
});

test('operands are rounded where they have more', { skip }, () => {
  tf.setBackend(BACKEND);
  const c = CASES[3], far = (x: Data[], y: Data[]): number => tf.tidy(() => {
    const [a, b] = [x, y].map((d) => run(c)(...d.map((t) => tf.tensor(t.values, t.shape))));
    return Number(tf.max(tf.abs(tf.sub(a, b))).dataSync()[0]);
  });
  assert.equal(far(inputs(c), inputs(c).map(rounded)), 0);
});
