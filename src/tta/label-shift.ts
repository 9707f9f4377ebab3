import { crossEntropy, linear, Rng, scoped, tf, variableGradients, type Tensor, type Tensor1D, type Tensor2D, type Variable } from '@graft/kernels';
import type { Method } from '../adapters/method.js';
import { isHead, type Source } from './network.js';
import type { SourceBatch, TtaMethod } from './method.js';
import { adam } from './optimiser.js';
import { sourceOption } from './prepared.js';
import { STORED } from './statistics.js';
import type { Wrapper } from './wrappers.js';

interface Config extends Record<string, unknown> { priorDecay: number; lsaSteps: number; lsaLr: number; lsaTau: number }

/** What the hypernetwork gives: γ, β [d], ΔW [C, d] and Δb [C]. */
interface Correction { gamma: Tensor; beta: Tensor; dW: Tensor2D; db: Tensor1D }

const WIDTH = 100, BATCH_SIZE = 128;

/**
 * LSA, the label shift adapter (Park et al., 2023): a small hypernetwork, trained on source images beforehand, turns an estimate of the class
 * frequencies π into a correction of the last layer, z = (W + ΔW)(γ ⊙ g(x) + β) + b + Δb, within which any method adapts; π is the moving
 * average of the predictions. How π is described to the hypernetwork, its width and the rate of the average are not the paper's, which
 * was not at hand.
 */
const labelShift: Wrapper = {
  name: 'label-shift',
  summary: 'a correction of the classifier for the class frequencies that the predictions show (LSA)',
  paper: { title: 'Label Shift Adapter for Test-Time Adaptation under Covariate and Label Shifts', authors: 'Park, Yang, Choo, Yun', year: 2023, url: 'https://arxiv.org/abs/2308.08810' },
  options: {
    priorDecay: { type: 'number', metavar: 'ALPHA', describe: 'the estimate of the class frequencies keeps this share of itself at each batch', default: 0.9, min: 0, max: 1 },
    lsaSteps: { type: 'number', metavar: 'N', describe: 'steps of training the adapter beforehand', default: 1500, min: 1 },
    lsaLr: { type: 'number', describe: 'its learning rate', default: 1e-3, min: 0 },
    lsaTau: { type: 'number', describe: 'how strongly its loss is adjusted to the frequencies asked for', default: 1, min: 0 },
    sourceData: sourceOption('labelled, to train the adapter, and for what the method itself learns from them'),
  },
  wrap: (method) => ({
    ...method,
    name: `${method.name} with label-shift`,
    options: { ...method.options, ...labelShift.options },
    needsSource: true,
    labelled: true,
    prepare: (source, batches, config, seed) => new Map([...method.prepare?.(source, batches, config, seed) ?? [], ...train(source, batches, config as Config, seed)]),
    start: (source, config, seed, prepared) => around(method, source, config as Config, seed, prepared!),
  }),
};

function around(method: TtaMethod, source: Source, config: Config, seed: number, prepared: ReadonlyMap<string, Tensor>): ReturnType<TtaMethod['start']> {
  const C = source.classes, part = (lsa: boolean) => new Map([...prepared].filter(([n]) => n.startsWith('lsa.') === lsa)), own = part(true), ofSource = [...own.get('lsa.prior')!.dataSync()];
  let prior = floored(Array<number>(C).fill(1 / C)), correction!: Correction;
  const change: Method = {
    name: 'label-shift', summary: '', paper: null, options: {}, params: () => [], sites: (model) => model.sites.filter(isHead).slice(-1),
    change: ({ x, base }) => corrected(x, base, correction),
  };
  const host = method.start(source.with(change), config, seed, method.prepare && part(false));
  return {
    ...host,
    step(x, others) {
      correction = generate(own, description(prior, ofSource), C);
      const z = host.step(x, others), seen = tf.mean(tf.softmax(z), 0).dataSync();
      prior = floored(prior.map((p, c) => config.priorDecay * p + (1 - config.priorDecay) * seen[c]));
      return z;
    },
    state: () => new Map([...host.state(), ['lsa.prior', tf.tensor1d(prior)]]),
    restore(state) {
      host.restore(state);
      prior = [...state.get('lsa.prior')!.dataSync()];
    },
  };
}

/** (W + ΔW)(γ ⊙ x + β) + b + Δb, where `base` gives W x + b. */
function corrected(x: Tensor, base: (x: Tensor) => Tensor, { gamma, beta, dW, db }: Correction): Tensor {
  const h = tf.add(tf.mul(x, gamma), beta);
  return tf.add(base(h), linear(h, dW, db));
}

/** No class less than 10⁻⁴; to the precision a state is stored with. */
function floored(prior: number[]): number[] {
  const least = prior.map((p) => Math.max(p, 1e-4)), sum = least.reduce((a, b) => a + b);
  return least.map((p) => Math.fround(p / sum));
}

/**
 * What the hypernetwork is told of class frequencies: Σ_c (π_c - 1/C)(π_s,c - 1/C) / Σ_c (π_s,c - 1/C)², 1 for those of the source, 0 for equal
 * ones; where the source's are equal, ln π_c + ln C of each class.
 */
export function description(prior: readonly number[], ofSource: readonly number[]): number[] {
  const C = prior.length, square = ofSource.reduce((s, p) => s + (p - 1 / C) ** 2, 0);
  if (square < 1e-6) return prior.map((p) => Math.log(p * C));
  return [prior.reduce((s, p, c) => s + (p - 1 / C) * (ofSource[c] - 1 / C), 0) / square];
}

function generate(own: ReadonlyMap<string, Tensor>, described: number[], C: number): Correction {
  const at = (name: string): Tensor => own.get(`lsa.${name}`)!;
  const hidden = tf.relu(linear(tf.tensor2d([described]), at('0.weight') as Tensor2D, at('0.bias') as Tensor1D));
  const out = tf.reshape(linear(hidden, at('2.weight') as Tensor2D, at('2.bias') as Tensor1D), [-1]), d = (out.shape[0]! - C) / (C + 2);
  const [gamma, beta, dW, db] = tf.split(out, [d, d, C * d, C]);
  return { gamma: tf.add(1, gamma), beta, dW: tf.reshape(dW, [C, d]) as Tensor2D, db: db as Tensor1D };
}

/** CE(z + τ (ln π_s - ln π), y), the generalised logit-adjusted loss: its minimiser z is best for frequencies π though labels follow π_s. */
export const adjustedLoss = (z: Tensor2D, labels: Tensor1D, ofSource: readonly number[], prior: readonly number[], tau: number): Tensor =>
  tf.mean(crossEntropy(tf.add(z, ofSource.map((p, c) => tau * (Math.log(p) - Math.log(prior[c])))), labels));

/** The hypernetwork, `lsa.0.` and `lsa.2.`, trained over cached features for the source's frequencies, equal ones and the source's reversed; `lsa.prior`. */
function train(source: Source, batches: readonly SourceBatch[], { lsaSteps, lsaLr, lsaTau }: Config, seed: number): Map<string, Tensor> {
  const network = source.copy([], STORED), C = source.classes;
  const { features, labels } = tf.tidy(() => ({
    features: tf.concat(batches.map(({ pixels }) => tf.tidy(() => network.predict(pixels).features)), 0), labels: tf.concat(batches.map((b) => b.labels!), 0) as Tensor1D,
  }));
  network.dispose();
  const counts = Array<number>(C).fill(0);
  labels.dataSync().forEach((l) => counts[l]++);
  // Reversed: the frequencies of the classes in order of rarity.
  const ofSource = floored(counts.map((n) => n / labels.size)), order = ofSource.map((_, c) => c).sort((a, b) => ofSource[a] - ofSource[b]);
  const reversed = Array<number>(C);
  order.forEach((c, i) => { reversed[c] = ofSource[order[C - 1 - i]]; });
  const priors = [ofSource, Array<number>(C).fill(1 / C), reversed];

  const { weight, bias } = source.classifier(), params = hypernetwork(description(ofSource, ofSource).length, C, weight.shape[1], new Rng('lsa', seed));
  const optimiser = adam(params, { lr: lsaLr, beta1: 0.9, beta2: 0.999 });
  for (let step = 0; step < lsaSteps; step++) scoped(() => {
    const rng = new Rng('lsa', seed, step), prior = priors[rng.integer(priors.length)];
    const rows = tf.tensor1d(Int32Array.from({ length: BATCH_SIZE }, () => rng.integer(labels.size)), 'int32');
    const f = tf.gather(features, rows), y = tf.gather(labels, rows) as Tensor1D;
    const { grads } = variableGradients(() => {
      const z = corrected(f, (h) => linear(h, weight, bias as Tensor1D | null), generate(params, description(prior, ofSource), C));
      return adjustedLoss(z as Tensor2D, y, ofSource, prior, lsaTau) as tf.Scalar;
    }, [...params.values()]);
    optimiser.step(new Map([...params].flatMap(([n, v]): [string, Tensor][] => (grads.has(v) ? [[n, grads.get(v)!]] : []))));
  });
  optimiser.dispose();
  tf.dispose([features, labels]);
  return new Map<string, Tensor>([...params, ['lsa.prior', tf.tensor1d(ofSource)]]);
}

/** From the description over 100 hidden units to γ - 1, β, ΔW and Δb, all of which start at 0. */
function hypernetwork(described: number, C: number, d: number, rng: Rng): Map<string, Variable> {
  const K = (C + 2) * d + C, drawn = (...shape: number[]): Tensor => tf.tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => rng.uniform(-1, 1) / Math.sqrt(described)), shape);
  const start: [string, () => Tensor][] = [['0.weight', () => drawn(WIDTH, described)], ['0.bias', () => drawn(WIDTH)], ['2.weight', () => tf.zeros([K, WIDTH])], ['2.bias', () => tf.zeros([K])]];
  return new Map(start.map(([n, make]) => [`lsa.${n}`, tf.tidy(() => tf.variable(make()))]));
}

export default labelShift;
