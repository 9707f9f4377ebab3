import type { Tensor } from '@tensorflow/tfjs-core';
import { hasKernel, runKernel } from '../fused.js';
import type { Activation } from './activation.js';

export interface Product {
  transposeA?: boolean;
  transposeB?: boolean;
  alpha?: number;
  activation?: Activation;
  /** A frozen b is taken as codes of few bits where --precision says so: a weight of the model, not one of a head or a graft. */
  coded?: boolean;
  /** Also returns what the activation was applied to. */
  keep?: boolean;
}

/** Whether the current backend fuses what follows a matrix product into it. */
export const fusesProducts = (): boolean => hasKernel('GraftProduct');

/**
 * act(alpha · A B + add + bias) in one pass, not differentiable; A and B are a and b (or their transposes) with all axes but
 * the last flattened. add: as the result; bias: [n].
 */
export function product(a: Tensor, b: Tensor, options: Product = {}, add?: Tensor | null, bias?: Tensor | null): Tensor {
  return runKernel('GraftProduct', { a, b, add, bias }, attributes(options));
}

/** The same, and what the activation was applied to. */
export function productKept(a: Tensor, b: Tensor, options: Product, bias?: Tensor | null): [y: Tensor, z: Tensor] {
  return runKernel<Tensor[]>('GraftProduct', { a, b, bias }, { ...attributes(options), keep: true }) as [Tensor, Tensor];
}

const attributes = (options: Product): Required<Product> =>
  ({ transposeA: false, transposeB: false, alpha: 1, activation: 'none', keep: false, coded: false, ...options });
