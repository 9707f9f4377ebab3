import { defineKernel } from '../backend.js';

defineKernel<{ draws: Float64Array }>('GraftAugment', ({ inputs: { x }, attrs: { draws }, backend }) => {
  const y = backend.output(x.shape);
  backend.native.augment(backend.handle(x), backend.handle(y), x.shape[1], x.shape[2], draws);
  return y;
});
