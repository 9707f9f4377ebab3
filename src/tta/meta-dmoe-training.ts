import { crossEntropy, layerNorm, linear, Rng, scoped, tf, variableGradients, type Scalar, type Tensor, type Tensor1D, type Tensor2D, type Tensor3D, type Tensor4D, type Variable } from '@graft/kernels';
import { dataError, usageError } from '../errors.js';
import { aggregate, newAggregator, withoutExpert, type AggregatorParams } from './aggregator.js';
import type { Domains } from './domains.js';
import { metaGradients } from './meta-distill.js';
import type { Network, Source } from './network.js';
import { adam, prefixed, type Gradients } from './optimiser.js';
import { STORED } from './statistics.js';

export interface Config extends Record<string, unknown> {
  experts: number; heads: number; support: number; innerLr: number; sourceData?: string;
  expertEpochs: number; expertLr: number; aggregatorEpochs: number; metaSteps: number; studentLr: number; aggregatorLr: number; firstOrder: boolean;
}

/** The tensors of a copy that give its features. */
export const extractor = (source: Source, network: Network): Map<string, Variable> => new Map(source.extractor().map((n) => [n, network.own.get(n)!]));

/** [B, M, d] of images [B, H, W, 3]. */
export const expertFeatures = (experts: readonly Network[], x: Tensor4D): Tensor3D => tf.stack(experts.map((e) => e.predict(x).features), 1) as Tensor3D;

const BATCH = 64;

/**
 * What Meta-DMoE learns beforehand: experts of groups of domains, the aggregator of their features and the meta-trained student.
 * @throws GraftError (usage) for more experts than domains, (65) for a domain with too few images
 */
export function train(source: Source, data: Domains, c: Config, seed: number): Map<string, Tensor> {
  if (data.rows.length < c.experts) throw usageError(`--experts ${c.experts}: the source data has ${data.rows.length} domains`);
  const small = data.rows.find((rows) => rows.length < 2 * c.support);
  if (small) throw dataError(`--source-data: a domain has ${small.length} images; an episode needs ${2 * c.support}, twice --support`);
  const group = new Rng('meta-dmoe', seed, 'groups').shuffle(data.rows.map((_, d) => d % c.experts));
  const experts = Array.from({ length: c.experts }, (_, e) => expert(source, data, data.rows.flatMap((rows, d) => (group[d] === e ? rows : [])), c, new Rng('meta-dmoe', seed, 'expert', e)));
  const all = data.rows.flat().sort((a, b) => a - b);
  const features = scoped(() => tf.keep(tf.concat(chunks(all, BATCH).map((rows) => tf.tidy(() => expertFeatures(experts, data.take(rows).pixels))), 0)));
  const student = source.copy(source.parameters(), STORED);
  const phi = newAggregator(features.shape[2], c.heads, (name) => new Rng('meta-dmoe', seed, name));
  pretrain(phi, features, data, all, source.classes, c, seed);
  meta(source, student, phi, features, data, group, c, seed);
  const prepared = new Map<string, Tensor>([...experts.flatMap((e, i) => prefixed(`expert.${i}.`, extractor(source, e))), ...prefixed('aggregator.', phi), ...prefixed('student.', student.own)]
    .map(([name, t]) => [name, tf.tidy(() => tf.keep(tf.mul(t, 1)))]));
  [student, ...experts].forEach((n) => n.dispose());
  tf.dispose([features, data.pixels, ...phi.values()]);
  return prepared;
}

const chunks = <T>(rows: readonly T[], size: number): T[][] => Array.from({ length: Math.ceil(rows.length / size) }, (_, i) => rows.slice(i * size, (i + 1) * size));

/** Adam down the cross-entropy over shuffled batches of rows, for so many passes. */
function fit(params: ReadonlyMap<string, Variable>, rows: readonly number[], logits: (rows: number[]) => Tensor2D, data: Domains, epochs: number, lr: number, rng: Rng): void {
  const optimiser = adam(params, { lr, beta1: 0.9, beta2: 0.999 });
  for (let epoch = 0; epoch < epochs; epoch++) for (const batch of chunks(rng.shuffle([...rows]), BATCH)) scoped(() => {
    const { grads } = variableGradients(() => tf.mean(crossEntropy(logits(batch), data.take(batch).labels)) as Scalar, [...params.values()]);
    optimiser.step(new Map([...params].map(([name, v]) => [name, grads.get(v)!])));
  });
  optimiser.dispose();
}

function expert(source: Source, data: Domains, rows: readonly number[], { expertEpochs, expertLr }: Config, rng: Rng): Network {
  const network = source.copy(source.parameters(), STORED);
  fit(network.own, rows, (batch) => network.logits(data.take(batch).pixels), data, expertEpochs, expertLr, rng);
  return network;
}

/** The aggregator under a head of its own, which is dropped: layer normalisation, then a dense layer. */
function pretrain(phi: AggregatorParams, features: Tensor3D, data: Domains, all: readonly number[], classes: number, { heads, aggregatorEpochs, aggregatorLr }: Config, seed: number): void {
  const d = features.shape[2], rng = new Rng('meta-dmoe', seed, 'head');
  const head = new Map(Object.entries({
    'head.gamma': tf.variable(tf.ones([d])), 'head.beta': tf.variable(tf.zeros([d])), 'head.bias': tf.variable(tf.zeros([classes])),
    'head.weight': tf.variable(tf.tensor2d(Float32Array.from({ length: classes * d }, () => rng.uniform(-1, 1) / Math.sqrt(d)), [classes, d])),
  }));
  const [gamma, beta, bias, weight] = [...head.values()] as unknown as [Tensor1D, Tensor1D, Tensor1D, Tensor2D];
  const logits = (rows: number[]): Tensor2D => {
    const t = aggregate(phi, tf.gather(features, tf.tensor1d(rows, 'int32')), heads);
    return linear(layerNorm(t, gamma, beta, 1e-5), weight, bias) as Tensor2D;
  };
  fit(new Map([...phi, ...head]), all, logits, data, aggregatorEpochs, aggregatorLr, rng);
  tf.dispose([...head.values()]);
}

/** Episodes of one domain each, its own expert left out, so that it is met as an unseen one would be. Rates fall by 4 % with each pass. */
function meta(source: Source, student: Network, phi: AggregatorParams, features: Tensor3D, data: Domains, group: readonly number[], c: Config, seed: number): void {
  const theta = extractor(source, student), count = data.rows.flat().length;
  const rates = [c.studentLr, c.aggregatorLr].map((lr) => ({ lr, beta1: 0.9, beta2: 0.999 }));
  const optimisers = [adam(student.own, rates[0]), adam(phi, rates[1])];
  for (let step = 0; step < c.metaSteps; step++) scoped(() => {
    const rng = new Rng('meta-dmoe', seed, 'episode', step), domain = rng.integer(data.rows.length);
    const rows = rng.shuffle([...data.rows[domain]]), [support, query] = [rows.slice(0, c.support), rows.slice(c.support, 2 * c.support)];
    const tokens = withoutExpert(tf.gather(features, tf.tensor1d(support, 'int32')), group[domain]);
    const episode = { support: data.take(support).pixels, query: data.take(query), target: () => aggregate(phi, tokens, c.heads) };
    const found = metaGradients(student, theta, phi, episode, c.innerLr, c.firstOrder);
    const passes = Math.floor((step * 2 * c.support) / count);
    [c.studentLr, c.aggregatorLr].forEach((lr, i) => { rates[i].lr = lr * 0.96 ** passes; });
    [found.theta, found.phi].forEach((grads: Gradients, i) => { if (grads.size > 0) optimisers[i].step(grads); });
  });
  optimisers.forEach((o) => o.dispose());
}
