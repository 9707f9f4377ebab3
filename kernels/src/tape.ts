import { engine } from '@tensorflow/tfjs-core';

/**
 * Runs `f` without recording it for gradients, even inside a gradient function. The frozen part of a model below the
 * first trained site runs this way, so none of its activations outlive their use.
 */
export function untracked<T>(f: () => T): T {
  // A kernel called from within a kernel is not recorded; the engine has no public switch for the same thing.
  const { state } = engine();
  state.kernelDepth++;
  try {
    return f();
  } finally {
    state.kernelDepth--;
  }
}

/** Runs `f` and frees every tensor it made and did not keep; like tf.tidy, for results that are no tensors. */
export function scoped<T>(f: () => T): T {
  engine().startScope();
  try {
    return f();
  } finally {
    engine().endScope();
  }
}
