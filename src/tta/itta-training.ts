import { crossEntropy, Rng, scoped, tf, untracked, type Tensor } from '@graft/kernels';
import { consistency, lossWeights, Styled } from './consistency.js';
import { Domains } from './domains.js';
import type { SourceBatch } from './method.js';
import { alongDirection, gradientsOf } from './mixed-derivative.js';
import { drawMix, stageEnds } from './mixstyle.js';
import { ownValues, type Source } from './network.js';
import { adam, prefixed, type AdamConfig, type Gradients } from './optimiser.js';
import { STORED } from './statistics.js';

export interface Config extends AdamConfig, Record<string, unknown> { eta: number; sourceSteps: number; perDomain: number; sourceLr: number; lossLr: number }

type Both = ReturnType<Styled['both']>;

/** Weight of the alignment (§3.2). */
const ALIGN = 0.1;

/**
 * 0.1 mean((Ĝ_c - Ĝ_m)²) of two gradients of the same tensors, each standardised over all its entries together, and what it has for a
 * gradient v with respect to G_c, where mean and deviation (unbiased) count as constants (equation 4). Within a scope of the caller's.
 */
export function alignment(consistent: Gradients, main: Gradients): { penalty: Tensor; v: Map<string, Tensor> } {
  const names = [...main.keys()];
  const standardised = (g: Gradients): { standard: Tensor; deviation: Tensor } => {
    const all = tf.concat(names.map((name) => tf.reshape(g.get(name) ?? tf.zerosLike(main.get(name)!), [-1])));
    const apart = tf.sub(all, tf.mean(all)), deviation = tf.sqrt(tf.div(tf.sum(tf.square(apart)), all.size - 1));
    return { standard: tf.div(apart, tf.maximum(deviation, 1e-30)), deviation };
  };
  const [c, m] = [standardised(consistent), standardised(main)], difference = tf.sub(c.standard, m.standard);
  const flat = tf.mul(difference, tf.div(2 * ALIGN / difference.size, tf.maximum(c.deviation, 1e-30)));
  const parts = tf.split(flat, names.map((name) => main.get(name)!.size));
  return { penalty: tf.mul(ALIGN, tf.mean(tf.square(difference))), v: new Map(names.map((name, i) => [name, tf.reshape(parts[i], main.get(name)!.shape)])) };
}

/**
 * What ITTA learns beforehand: the network from cross-entropy of images, the same mixed, and the consistency of both (algorithm 1), and in
 * turn w of that consistency, so that its gradient aligns with that of the cross-entropy in the extractor. `alignment` is the penalty by step.
 */
export function train(original: Source, batches: readonly SourceBatch[], c: Config, seed: number): Map<string, Tensor> {
  const data = new Domains(batches), stages = stageEnds(original.model), styled = new Styled(original, false), source = styled.source;
  const network = source.copy(source.parameters(), STORED), theta = new Map(source.extractor().map((n) => [n, network.own.get(n)!]));
  const w = scoped(() => new Map([...lossWeights(source.classifier().weight.shape[1])].map(([n, t]) => [n, tf.variable(t)])));
  const optimisers = [adam(network.own, { ...c, lr: c.sourceLr }), adam(w, { ...c, lr: c.lossLr })];
  const penalties: number[] = [];
  for (let step = 0; step < c.sourceSteps; step++) scoped(() => {
    const rng = new Rng('itta', seed, 'source', step);
    const { pixels, labels } = data.take(data.rows.flatMap((rows) => rng.shuffle([...rows]).slice(0, c.perDomain)));
    const [first, second] = [0, 1].map(() => drawMix(stages, pixels.shape[0], rng));
    const classified = ([plain, mixed]: Both): Tensor => tf.mean(tf.add(crossEntropy(plain.logits, labels), crossEntropy(mixed.logits, labels)));
    const consistent = ([plain, mixed]: Both): Tensor => consistency(w, plain.features, mixed.features);
    optimisers[0].step(gradientsOf(network.own, () => {
      const both = styled.both(network, pixels, first);
      return tf.add(classified(both), consistent(both));
    }));
    const [main, auxiliary] = [classified, consistent].map((loss) => gradientsOf(theta, () => loss(styled.both(network, pixels, second))));
    const { penalty, v } = alignment(auxiliary, main);
    penalties.push(penalty.dataSync()[0]);
    optimisers[1].step(alongDirection(theta, v, () => {
      const both = untracked(() => styled.both(network, pixels, second));
      return gradientsOf(w, () => consistent(both));
    }));
  });
  const learnt = new Map([...[...prefixed('network.', network.own), ...prefixed('loss.', w)].map(([n, t]): [string, Tensor] => [n, ownValues(t)]), ['alignment', tf.tensor1d(penalties)]]);
  [network, ...optimisers].forEach((x) => x.dispose());
  tf.dispose([data.pixels, ...w.values()]);
  return learnt;
}
