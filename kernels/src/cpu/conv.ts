/** Convolutions of TensorFlow.js (filters HWIO) and of ops/conv.ts (filters OIHW, groups): forward and both gradients. */
import * as tf from '@tensorflow/tfjs-core';
import { defineKernel, type GraftCpuBackend } from '../backend.js';
import { outputSize, type ConvAttrs } from '../ops/conv.js';

type Shape4 = [number, number, number, number];

/** The numbers of struct Geometry in conv.cc for a filter stored OIHW. */
function geometry(x: number[], w: number[], { stride, padding, dilation, groups }: ConvAttrs): number[] {
  const [B, H, W, C] = x;
  const [O, cg, kh, kw] = w;
  tf.util.assert(C === cg * groups && O % groups === 0, () => `conv2d: input [${x}] and filter [${w}] do not fit with ${groups} group(s)`);
  const size = { stride, padding, dilation };
  return [B, H, W, C, kh, kw, outputSize(H, kh, size), outputSize(W, kw, size), O, stride, stride, padding, padding, dilation, dilation, groups, 0];
}

const outputShape = (g: number[]): number[] => [g[0], g[6], g[7], g[8]];

defineKernel<ConvAttrs>('Convolution', ({ inputs: { x, w, b }, attrs, backend }) => {
  const g = geometry(x.shape, w.shape, attrs);
  return forward(backend, x, w, b, g);
});

defineKernel<ConvAttrs & { xShape: number[] }>('ConvolutionInputGrad', ({ inputs: { dy, w }, attrs, backend }) =>
  inputGradient(backend, dy, w, attrs.xShape, geometry(attrs.xShape, w.shape, attrs)));

defineKernel<ConvAttrs & { wShape: number[] }>('ConvolutionFilterGrad', ({ inputs: { x, dy }, attrs, backend }) =>
  filterGradient(backend, x, dy, attrs.wShape, geometry(x.shape, attrs.wShape, attrs)));

function forward(backend: GraftCpuBackend, x: tf.TensorInfo, w: tf.TensorInfo, b: tf.TensorInfo | null | undefined, g: number[]): tf.TensorInfo {
  const y = backend.output(outputShape(g));
  backend.native.convForward(backend.handle(x), backend.handle(w), b ? backend.handle(b) : null, backend.handle(y), g);
  return y;
}

function inputGradient(backend: GraftCpuBackend, dy: tf.TensorInfo, w: tf.TensorInfo, shape: number[], g: number[]): tf.TensorInfo {
  const dx = backend.output(shape);
  backend.native.convInputGradient(backend.handle(dy), backend.handle(w), backend.handle(dx), g);
  return dx;
}

function filterGradient(backend: GraftCpuBackend, x: tf.TensorInfo, dy: tf.TensorInfo, shape: number[], g: number[]): tf.TensorInfo {
  const dw = backend.output(shape);
  backend.native.convFilterGradient(backend.handle(x), backend.handle(dy), backend.handle(dw), g);
  return dw;
}

interface TfConv {
  strides: number | [number, number];
  pad: 'valid' | 'same' | number | tf.backend_util.ExplicitPadding;
  dataFormat?: 'NHWC' | 'NCHW';
  dilations?: number | [number, number];
  dimRoundingMode?: 'floor' | 'round' | 'ceil';
}

/** The same numbers from what TensorFlow.js passes to its kernels; a depthwise filter [kh, kw, C, m] is C groups of m filters. */
function tfGeometry(x: number[], filter: number[], a: TfConv, depthwise: boolean): number[] {
  tf.util.assert(a.dataFormat !== 'NCHW', () => 'graft-cpu: convolutions are NHWC');
  const i = tf.backend_util.computeConv2DInfo(x as Shape4, filter as Shape4, a.strides, a.dilations ?? 1, a.pad, a.dimRoundingMode, depthwise);
  return [i.batchSize, i.inHeight, i.inWidth, i.inChannels, i.filterHeight, i.filterWidth, i.outHeight, i.outWidth, i.outChannels,
    i.strideHeight, i.strideWidth, i.padInfo.top, i.padInfo.left, i.dilationHeight, i.dilationWidth, depthwise ? i.inChannels : 1, 1];
}

for (const [depthwise, name] of [[false, 'Conv2D'], [true, 'DepthwiseConv2dNative']] as const) {
  defineKernel<TfConv>(name, ({ inputs: { x, filter }, attrs, backend }) =>
    forward(backend, x, filter, null, tfGeometry(x.shape, filter.shape, attrs, depthwise)));

  defineKernel<TfConv & { inputShape: number[] }>(`${name}BackpropInput`, ({ inputs: { dy, filter }, attrs, backend }) =>
    inputGradient(backend, dy, filter, attrs.inputShape, tfGeometry(attrs.inputShape, filter.shape, attrs, depthwise)));

  defineKernel<TfConv & { filterShape: number[] }>(`${name}BackpropFilter`, ({ inputs: { x, dy }, attrs, backend }) =>
    filterGradient(backend, x, dy, attrs.filterShape, tfGeometry(x.shape, attrs.filterShape, attrs, depthwise)));
}

interface Fused extends TfConv { activation: string; leakyreluAlpha?: number }

for (const [depthwise, name] of [[false, 'FusedConv2D'], [true, 'FusedDepthwiseConv2D']] as const)
  defineKernel<Fused>(name, ({ inputs: { x, filter, bias, preluActivationWeights }, attrs, backend }) => {
    const y = forward(backend, x, filter, bias, tfGeometry(x.shape, filter.shape, attrs, depthwise));
    return activated(backend, y, attrs, preluActivationWeights);
  });

const ACTIVATIONS: Record<string, string> = { relu: 'Relu', relu6: 'Relu6', elu: 'Elu', sigmoid: 'Sigmoid', prelu: 'Prelu', leakyrelu: 'LeakyRelu' };

function activated(backend: GraftCpuBackend, y: tf.TensorInfo, { activation, leakyreluAlpha }: Fused, alpha?: tf.TensorInfo): tf.TensorInfo {
  if (activation === 'linear') return y;
  const inputs = { x: y, ...(alpha && { alpha }) };
  const out = tf.getKernel(ACTIVATIONS[activation], tf.getBackend()).kernelFunc({ inputs, attrs: { alpha: leakyreluAlpha ?? 0.2 }, backend });
  backend.release(y);
  return out as tf.TensorInfo;
}
