import { crossEntropy, linear, Rng, scoped, tf, untracked, type Tensor, type Tensor1D, type Tensor2D } from '@graft/kernels';
import { augment } from './augment.js';
import { contrastive, symmetricCrossEntropy, unitRows } from './losses.js';
import type { SourceBatch, TtaMethod } from './method.js';
import type { Network, Source } from './network.js';
import { adam, adamOptions, type AdamConfig } from './optimiser.js';
import { sourceOption } from './prepared.js';
import { SourceImages } from './source-images.js';
import { BATCH } from './statistics.js';
import { pupil, teacherOptions, type Pupil } from './teacher.js';

interface Config extends AdamConfig, Record<string, unknown> {
  alpha: number; lambdaTrg: number; lambdaCont: number; lambdaSrc: number; temperature: number; warmUp: number; projection: number; augment: boolean;
}

/**
 * RMT (Döbler et al., 2023): a mean teacher with a symmetric cross-entropy (equation 2), features drawn to the nearest class prototype of the
 * source and to those of an augmented copy by a contrastive loss (equation 4), and replay of source images. Before the stream the
 * student warms up on source images. The logits are the sum of student's and teacher's, before the update.
 */
const rmt: TtaMethod<Config> = {
  name: 'rmt',
  summary: 'robust mean teacher: symmetric cross-entropy, prototypes, source replay',
  paper: { title: 'Robust Mean Teacher for Continual and Gradual Test-Time Adaptation', authors: 'Döbler, Marsden, Yang', year: 2023, url: 'https://arxiv.org/abs/2211.13081' },
  options: {
    ...adamOptions(1e-3), ...teacherOptions,
    lambdaTrg: { type: 'number', describe: 'weight of the symmetric cross-entropy', default: 1, min: 0 },
    lambdaCont: { type: 'number', describe: 'weight of the contrastive loss', default: 1, min: 0 },
    lambdaSrc: { type: 'number', describe: 'weight of source replay; 0: no source image is kept', default: 1, min: 0 },
    temperature: { type: 'number', describe: 'of the contrastive loss', default: 0.1, min: 1e-3 },
    projection: { type: 'number', metavar: 'N', describe: 'width of the projector in the contrastive loss; 0: the features as they are', default: 128, min: 0 },
    warmUp: { type: 'number', metavar: 'N', describe: 'source images seen to warm up; 0: none', default: 50000, min: 0 },
    augment: { type: 'boolean', describe: 'the second view is augmented; --no-augment: the images as they are', default: true },
    sourceData: sourceOption('labelled, for the prototypes, the warm-up and replay'),
  },
  needsSource: true,
  labelled: true,
  prepare,
  start(source, config, seed, prepared) {
    const self = start(source, config, seed), { network: student, teacher } = self;
    if (prepared!.has('steps')) self.restore(prepared!);
    const prototypes = prepared!.get('prototypes') as Tensor2D, replayed = prepared!.get('replay.pixels'), labels = prepared!.get('replay.labels');

    /** The prototypes most similar to the features [B, d]. */
    const nearest = (f: Tensor2D): Tensor2D => untracked(() => tf.gather(prototypes, tf.argMax(tf.matMul(unitRows(f), unitRows(prototypes), false, true), -1) as Tensor1D));
    const replay = (B: number): Tensor => {
      const rows = tf.tensor1d(Int32Array.from(new Rng('replay', seed, self.steps).permutation(replayed!.shape[0]).subarray(0, B)), 'int32');
      return tf.mean(crossEntropy(student.logits(tf.gather(replayed!, rows) as Parameters<Network['logits']>[0]), tf.gather(labels!, rows) as Tensor1D));
    };

    return {
      ...self,
      step(x) {
        const theirs = teacher.logits(x), view = config.augment ? augment(x, new Rng('rmt', seed, self.steps)) : x;
        const z = self.descend(() => {
          const { features, logits } = student.predict(x), other = student.predict(view);
          const taught = tf.mean(tf.mul(0.5, tf.add(symmetricCrossEntropy(logits, theirs), symmetricCrossEntropy(other.logits, theirs))));
          const drawn = contrastive([nearest(features), features, other.features].map((v) => unitRows(project(student, v))), config.temperature);
          const loss = tf.add(tf.mul(config.lambdaTrg, taught), tf.mul(config.lambdaCont, drawn));
          return { loss: replayed && config.lambdaSrc > 0 ? tf.add(loss, tf.mul(config.lambdaSrc, replay(x.shape[0]))) : loss, kept: logits };
        });
        self.follow(config.alpha);
        const sum = tf.add(z, theirs) as Tensor2D;
        z.dispose();
        return sum;
      },
    };
  },
};

/** Linear, ReLU, linear, with PyTorch's initial ranges; nothing for a width of 0. */
function projector(d: number, width: number, rng: Rng): Map<string, Tensor> {
  const layer = (name: string, from: number): [string, Tensor][] => [[`${name}.weight`, [width, from]], [`${name}.bias`, [width]]]
    .map(([n, shape]) => [n as string, tf.tensor(Float32Array.from({ length: (shape as number[]).reduce((a, b) => a * b) }, () => rng.uniform(-1, 1) / Math.sqrt(from)), shape as number[])]);
  return new Map(width === 0 ? [] : [...layer('projector.0', d), ...layer('projector.2', width)]);
}

function project({ own }: Network, f: Tensor2D): Tensor2D {
  const layer = (x: Tensor, at: string): Tensor => linear(x, own.get(`${at}.weight`) as unknown as Tensor2D, own.get(`${at}.bias`) as unknown as Tensor1D);
  return (own.has('projector.0.weight') ? layer(tf.relu(layer(f, 'projector.0')), 'projector.2') : f) as Tensor2D;
}

function start(source: Source, config: Config, seed: number): Pupil {
  const names = source.parameters(), added = projector(source.classifier().weight.shape[1], config.projection, new Rng('projector', seed));
  const student = source.copy(names, BATCH, [], added);
  tf.dispose([...added.values()]);
  return pupil(student, source.copy(names, BATCH), adam(student.own, config));
}

/** Mean features by class [C, d] (`prototypes`), the pupil after the warm-up, and the images of replay. */
function prepare(source: Source, batches: readonly SourceBatch[], config: Config, seed: number): Map<string, Tensor> {
  const prepared = new Map<string, Tensor>([['prototypes', prototypes(source, batches)]]), images = new SourceImages(batches);
  const steps = Math.floor(config.warmUp / images.size);
  if (steps > 0) {
    const rates = { ...config }, self = start(source, rates, seed);
    let step = 0;
    for (const { pixels } of images.batches(steps, new Rng('warm-up', seed))) {
      rates.lr = (config.lr * ++step) / steps;
      const theirs = tf.tidy(() => self.teacher.logits(pixels));
      self.descend(() => {
        const loss = tf.mean(symmetricCrossEntropy(self.network.logits(pixels), theirs));
        return { loss, kept: loss };
      }).dispose();
      theirs.dispose();
      self.follow(config.alpha);
    }
    scoped(() => self.state().forEach((t, name) => prepared.set(name, tf.keep(t.clone()))));
    self.dispose();
  }
  images.dispose();
  if (config.lambdaSrc > 0) {
    prepared.set('replay.pixels', tf.concat(batches.map((b) => b.pixels), 0));
    prepared.set('replay.labels', tf.concat(batches.map((b) => b.labels!), 0));
  }
  return prepared;
}

/** The mean of what the classifier reads over the images of each class; 0 for a class without any. */
function prototypes(source: Source, batches: readonly SourceBatch[]): Tensor {
  const network = source.copy([], BATCH), C = source.classes;
  const sums = tf.tidy(() => {
    const parts = batches.map(({ pixels, labels }) => tf.tidy(() => {
      const own = tf.oneHot(labels!, C, 1, 0, 'float32'), { features } = network.predict(pixels);
      return [tf.matMul(own, features, true, false), tf.sum(own, 0)];
    }));
    const [sum, count] = [0, 1].map((i) => parts.map((p) => p[i]).reduce((a, b) => tf.add(a, b)));
    return tf.div(sum, tf.expandDims(tf.maximum(count, 1), 1));
  });
  network.dispose();
  return sums;
}

export default rmt;
