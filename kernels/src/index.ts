/**
 * The one package every graft command computes through: TensorFlow.js tensors and gradients, the backends they
 * run on, fused operations (each with its plain TensorFlow.js reference in the same file), and linear algebra.
 */
export * as tf from '@tensorflow/tfjs-core';
import './gradients.js'; // after tfjs-core: whichever is loaded first makes the engine and its tensors
import './reduction-gradients.js';
export type { Tensor, Tensor1D, Tensor2D, Tensor3D, Tensor4D, Variable, Scalar, TensorLike } from '@tensorflow/tfjs-core';
export { offloadWeights, PRECISIONS, useBackend, useHost, type BackendName, type BackendOptions, type Precision } from './backends.js';
export { planBackend, type Plan, type PlannedDevice, type PlannedMemory } from './plan.js';
export { Ranks, type RankOptions } from './ranks.js';
export { recomputed, scoped, untracked, variableGradients } from './tape.js';
export { Repeated } from './repeated.js';
export { openMapped, type MappedFile, type StorageType } from './mapped.js';
export { activate, type Activation } from './ops/activation.js';
export { linear, type LinearOptions } from './ops/linear.js';
export { lowRank } from './ops/low-rank.js';
export { attendsApart, attention, type AttentionOptions } from './ops/attention.js';
export { layerNorm, rmsNorm } from './ops/norm.js';
export { groupNorm } from './ops/group-norm.js';
export { batchNorm, batchNormTrain } from './ops/batch-norm.js';
export { conv2d, type ConvOptions } from './ops/conv.js';
export { maxPool } from './ops/pool.js';
export { embedding } from './ops/embedding.js';
export { putRows } from './ops/put-rows.js';
export { residual } from './ops/residual.js';
export { rotary } from './ops/rotary.js';
export { logSoftmax, softmax } from './ops/softmax.js';
export { linearCrossEntropy, type LinearCrossEntropyOptions } from './ops/linear-cross-entropy.js';
export { crossEntropy, type CrossEntropyOptions } from './ops/cross-entropy.js';
export { sampleRows, samplesInPlace } from './ops/sample.js';
export type { Drawn, Sampling } from './distribution.js';
export { dropout, dropoutMask, type Mask as DropoutMask } from './ops/dropout.js';
export { augmentImages, type Augmentation, type Colour } from './ops/augment.js';
export { adamwStep, adamwSteps, sgdStep, sumOfSquares, type AdamWOptions, type AdamWStep, type SgdOptions } from './ops/optimise.js';
export { svd, randomizedSvd, type Svd } from './linalg/svd.js';
export { matMul as matMulDouble } from './linalg/dense.js';
export { topSvd } from './linalg/top-svd.js';
export { qr, type Qr } from './linalg/qr.js';
export { symmetricEigen, type SymmetricEigen } from './linalg/symmetric-eigen.js';
export { weightedSum, weightedSumStored } from './weighted-sum.js';
export { Rng } from './random.js';
