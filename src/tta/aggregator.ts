import { attention, layerNorm, linear, Rng, tf, type Tensor, type Tensor1D, type Tensor2D, type Tensor3D, type Tensor4D, type Variable } from '@graft/kernels';
import { usageError } from '../errors.js';

/** φ by name. */
export type AggregatorParams = ReadonlyMap<string, Variable>;

/**
 * The aggregator of Meta-DMoE (Zhong et al., 2022, §3.3): the features of M experts are M tokens of a transformer encoder of one block,
 * normalised before its sub-layers, with an MLP of width 2d and no position; the mean over the tokens is what the student is to compute.
 * The paper's dropout of 0.1 is left out.
 * @throws GraftError (usage) where the heads do not divide d
 */
export function newAggregator(d: number, heads: number, rng: (name: string) => Rng): AggregatorParams {
  if (d % heads !== 0) throw usageError(`--heads ${heads}: does not divide the ${d} features of the model`);
  const dense = (name: string, out: number, dimIn: number): [string, number[], number][] => [[`${name}.weight`, [out, dimIn], dimIn], [`${name}.bias`, [out], dimIn]];
  const norm = (name: string): [string, Variable][] => [[`${name}.weight`, tf.variable(tf.ones([d]))], [`${name}.bias`, tf.variable(tf.zeros([d]))]];
  const drawn = [...dense('attn.qkv', 3 * d, d), ...dense('attn.proj', d, d), ...dense('mlp.fc1', 2 * d, d), ...dense('mlp.fc2', d, 2 * d)].map(([name, shape, fanIn]): [string, Variable] => {
    const bound = 1 / Math.sqrt(fanIn), source = rng(name);
    return [name, tf.variable(tf.tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => source.uniform(-bound, bound)), shape))];
  });
  return new Map([...norm('norm1'), ...norm('norm2'), ...drawn]);
}

/** t [B, d] of the experts' features [B, M, d]. */
export function aggregate(phi: ReadonlyMap<string, Tensor>, features: Tensor3D, heads: number): Tensor2D {
  const [B, M, d] = features.shape, get = (name: string): Tensor => phi.get(name)!;
  const normed = (x: Tensor, name: string): Tensor => layerNorm(x, get(`${name}.weight`) as Tensor1D, get(`${name}.bias`) as Tensor1D, 1e-5);
  const dense = (x: Tensor, name: string, activation?: 'gelu'): Tensor => linear(x, get(`${name}.weight`) as Tensor2D, get(`${name}.bias`) as Tensor1D, { activation });
  const [q, k, v] = tf.split(dense(normed(features, 'norm1'), 'attn.qkv'), 3, -1).map((t) => tf.reshape(t, [B, M, heads, d / heads]) as Tensor4D);
  const x = tf.add(features, dense(tf.reshape(attention(q, k, v), [B, M, d]), 'attn.proj'));
  return tf.mean(tf.add(x, dense(dense(normed(x, 'norm2'), 'mlp.fc1', 'gelu'), 'mlp.fc2')), 1) as Tensor2D;
}

/** The features of all experts but one: [B, M - 1, d]. */
export function withoutExpert(features: Tensor3D, expert: number): Tensor3D {
  const kept = Array.from({ length: features.shape[1] }, (_, e) => e).filter((e) => e !== expert);
  return tf.gather(features, tf.tensor1d(kept, 'int32'), 1) as Tensor3D;
}
