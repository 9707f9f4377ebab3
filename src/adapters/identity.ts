import { Rng, scoped, tf, useHost } from '@graft/kernels';
import { GraftError } from '../errors.js';
import type { Checkpoint } from '../formats/checkpoint.js';
import type { Graft } from '../formats/graft.js';
import { Forward } from '../models/forward.js';
import type { Batch, Model } from '../models/model.js';
import type { ActiveGraft } from './active.js';
import { activate } from './instantiate.js';

const TOLERANCE = 1e-5;

/** Runs one batch of random input with and without the graft. @throws GraftError when hidden states differ by more than 1e-5 of their size */
export async function checkIdentity(graft: Graft, model: Model, checkpoint: Checkpoint): Promise<void> {
  await useHost();
  const active = await activate(graft, model);
  const difference = scoped(() => {
    const batch = randomBatch(model);
    const hidden = (grafts: ActiveGraft[]): tf.Tensor => model.backbone(new Forward(model.sites, checkpoint, grafts), batch).hidden;
    const base = hidden([]), changed = hidden([active]);
    if (base.shape.join() !== changed.shape.join()) return Infinity;
    return tf.div(tf.max(tf.abs(tf.sub(changed, base))), tf.max(tf.abs(base))).dataSync()[0];
  });
  active.dispose();
  if (!(difference <= TOLERANCE)) throw new GraftError(`the new ${graft.method} graft is not the identity: hidden states change by ${difference.toPrecision(2)} of their size`);
}

function randomBatch(model: Model): Batch {
  const rng = new Rng('identity');
  if (model.input === 'image') {
    const [H, W] = model.imageSize ?? [32, 32];
    return { kind: 'image', pixels: tf.tensor4d(Float32Array.from({ length: 2 * H * W * 3 }, () => rng.uniform()), [2, H, W, 3]) };
  }
  if (model.input === 'noise') {
    const [H, W] = model.imageSize!, shape: [number, number, number, number] = [2, H, W, model.hiddenSize];
    return { kind: 'noise', x: tf.tensor4d(Float32Array.from({ length: 2 * H * W * model.hiddenSize }, () => rng.normal()), shape), t: tf.tensor1d([1, 100]) };
  }
  const words = model.sites.find((s) => s.kind === 'embedding')!.dimIn;
  const T = 8;
  return { kind: 'text', ids: tf.tensor2d(Int32Array.from({ length: 2 * T }, () => rng.integer(words)), [2, T], 'int32'), mask: tf.ones([2, T]) as tf.Tensor2D };
}
