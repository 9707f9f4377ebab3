/** Convolutions of TensorFlow.js (filters HWIO) and of ops/conv.ts (filters OIHW, groups): forward and both gradients. */
import * as tf from '@tensorflow/tfjs-core';
import { defineKernel, type GraftBackend, type KernelCall } from '../backend.js';
import { outputSize, type ConvAttrs } from '../ops/conv.js';
import { fallBack, sameShape } from './numeric.js';

type Shape4 = [number, number, number, number];

/** The numbers of struct Geometry in conv.cc for a filter stored OIHW. */
function geometry(x: number[], w: number[], { stride, padding, dilation, groups }: ConvAttrs): number[] {
  const [B, H, W, C] = x;
  const [O, cg, kh, kw] = w;
  tf.util.assert(C === cg * groups && O % groups === 0, () => `conv2d: input [${x}] and filter [${w}] do not fit with ${groups} group(s)`);
  const size = { stride, padding, dilation };
  tf.util.assert([stride, dilation, groups].every((n) => Number.isInteger(n) && n > 0) && Number.isInteger(padding) && padding >= 0, () => `conv2d: impossible stride ${stride}, dilation ${dilation}, padding ${padding} or groups ${groups}`);
  const [height, width] = [outputSize(H, kh, size), outputSize(W, kw, size)];
  tf.util.assert(!(height < 1 || width < 1), () => `conv2d: the filter [${w}] is larger than the input [${x}]`);
  return [B, H, W, C, kh, kw, height, width, O, stride, stride, padding, padding, dilation, dilation, groups, 0];
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

function forward(backend: GraftBackend, x: tf.TensorInfo, w: tf.TensorInfo, b: tf.TensorInfo | null | undefined, g: number[]): tf.TensorInfo {
  const y = backend.output(outputShape(g));
  backend.native.convForward(backend.handle(x), backend.handle(w), b ? backend.handle(b) : null, backend.handle(y), g);
  return y;
}

function inputGradient(backend: GraftBackend, dy: tf.TensorInfo, w: tf.TensorInfo, shape: number[], g: number[]): tf.TensorInfo {
  const dx = backend.output(shape);
  backend.native.convInputGradient(backend.handle(dy), backend.handle(w), backend.handle(dx), g);
  return dx;
}

function filterGradient(backend: GraftBackend, x: tf.TensorInfo, dy: tf.TensorInfo, shape: number[], g: number[]): tf.TensorInfo {
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
  const i = tf.backend_util.computeConv2DInfo(x as Shape4, filter as Shape4, a.strides, a.dilations ?? 1, a.pad, a.dimRoundingMode, depthwise);
  return [i.batchSize, i.inHeight, i.inWidth, i.inChannels, i.filterHeight, i.filterWidth, i.outHeight, i.outWidth, i.outChannels,
    i.strideHeight, i.strideWidth, i.padInfo.top, i.padInfo.left, i.dilationHeight, i.dilationWidth, depthwise ? i.inChannels : 1, 1];
}

/**
 * A convolution of TensorFlow.js, native for NHWC with one bias per output channel and, for gradients, a `dy` of the shape that the other
 * arguments imply. TensorFlow.js's own kernel runs the rest. @param shapes of input and filter
 */
function defineConvolution<A>(name: string, depthwise: boolean, shapes: (call: KernelCall<TfConv & A>) => [number[], number[]],
  run: (call: KernelCall<TfConv & A>, g: number[]) => tf.TensorInfo): void {
  defineKernel<TfConv & A>(name, (call) => {
    const { inputs: { dy, bias }, attrs } = call;
    if (attrs.dataFormat === 'NCHW') return fallBack(name, call);
    const g = tfGeometry(...shapes(call), attrs, depthwise), y = outputShape(g);
    const served = (!dy || sameShape(dy.shape, y)) && (!bias || sameShape(bias.shape, [y[3]]));
    return served ? run(call, g) : fallBack(name, call);
  });
}

interface Fused { activation: string; leakyreluAlpha?: number }

for (const [depthwise, name, fused] of [[false, 'Conv2D', 'FusedConv2D'], [true, 'DepthwiseConv2dNative', 'FusedDepthwiseConv2D']] as const) {
  const given = ({ inputs: { x, filter } }: { inputs: Record<string, tf.TensorInfo> }): [number[], number[]] => [x.shape, filter.shape];

  defineConvolution(name, depthwise, given, ({ inputs: { x, filter }, backend }, g) => forward(backend, x, filter, null, g));

  defineConvolution<Fused>(fused, depthwise, given, ({ inputs: { x, filter, bias, preluActivationWeights }, attrs, backend }, g) =>
    activated(backend, forward(backend, x, filter, bias, g), attrs, preluActivationWeights));

  defineConvolution<{ inputShape: number[] }>(`${name}BackpropInput`, depthwise, ({ inputs: { filter }, attrs }) => [attrs.inputShape, filter.shape],
    ({ inputs: { dy, filter }, attrs, backend }, g) => inputGradient(backend, dy, filter, attrs.inputShape, g));

  defineConvolution<{ filterShape: number[] }>(`${name}BackpropFilter`, depthwise, ({ inputs: { x }, attrs }) => [x.shape, attrs.filterShape],
    ({ inputs: { x, dy }, attrs, backend }, g) => filterGradient(backend, x, dy, attrs.filterShape, g));
}

const ACTIVATIONS: Record<string, string> = { relu: 'Relu', relu6: 'Relu6', elu: 'Elu', sigmoid: 'Sigmoid', prelu: 'Prelu', leakyrelu: 'LeakyRelu' };

function activated(backend: GraftBackend, y: tf.TensorInfo, { activation, leakyreluAlpha }: Fused, alpha?: tf.TensorInfo): tf.TensorInfo {
  if (activation === 'linear') return y;
  const inputs = { x: y, ...(alpha && { alpha }) };
  const out = tf.getKernel(ACTIVATIONS[activation], backend.name).kernelFunc({ inputs, attrs: { alpha: leakyreluAlpha ?? 0.2 }, backend });
  backend.release(y);
  return out as tf.TensorInfo;
}
