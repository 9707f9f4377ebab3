import { defineKernel } from '../backend.js';
import type { Mask } from '../ops/dropout.js';

defineKernel<Mask>('GraftDropout', ({ inputs: { x }, attrs: { key0, key1, below, keep }, backend }) => {
  const y = backend.output(x.shape);
  backend.native.dropout(backend.handle(x), backend.handle(y), key0, key1, below, keep);
  return y;
});
