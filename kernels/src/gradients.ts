// TensorFlow.js ships the gradients of its kernels as modules node cannot load; the build bundles this file (see bin/build.mjs).
// The bundle shares the engine and the registries of the one loaded from `@tensorflow/tfjs-core`, which are global.
import { registerGradient } from '@tensorflow/tfjs-core/dist/kernel_registry.js';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';

export { registerGradient };
