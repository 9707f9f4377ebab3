/** complex64 is a pair of float32 tensors; everything else about it is left to the fallback. */
import { defineKernel } from '../backend.js';

defineKernel('Complex', ({ inputs: { real, imag }, backend }) => backend.complex(backend.alias(real), backend.alias(imag)));
defineKernel('Real', ({ inputs: { input }, backend }) => backend.alias(backend.parts(input).real));
defineKernel('Imag', ({ inputs: { input }, backend }) => backend.alias(backend.parts(input).imag));
