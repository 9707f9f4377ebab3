/** Element-wise kernels with TensorFlow.js's dtype rules: the result has the first input's dtype unless a kernel says otherwise. */
import * as tf from '@tensorflow/tfjs-core';
import { type GraftBackend } from '../backend.js';
import { defineNumeric, sameShape, typeOf, type NativeType } from './numeric.js';

/** Looks an operation's number up once. */
function numbered(table: 'unaryOp' | 'binaryOp', name: string): (backend: GraftBackend) => number {
  let op: number | undefined;
  return (backend) => (op ??= backend.native[table](name));
}

function defineUnary<A>(name: string, dtype?: NativeType, parameters: (attrs: A) => number[] = () => []): void {
  const op = numbered('unaryOp', name);
  defineNumeric<A>(name, ({ inputs: { x }, attrs, backend }) => {
    const y = backend.output(x.shape, dtype ?? typeOf(x));
    backend.native.unary(op(backend), backend.handle(x), backend.handle(y), ...parameters(attrs));
    return y;
  });
}

/** `first` and `second` name the inputs. */
function defineBinary(name: string, dtype?: NativeType, first = 'a', second = 'b'): void {
  const op = numbered('binaryOp', name);
  defineNumeric(name, ({ inputs: { [first]: a, [second]: b }, backend }) => {
    const alike = sameShape(a.shape, b.shape);
    const y = backend.output(alike ? a.shape : tf.broadcast_util.assertAndGetBroadcastShape(a.shape, b.shape), dtype ?? typeOf(a));
    backend.native.binary(op(backend), backend.handle(a), backend.handle(b), backend.handle(y), ...(alike ? [] : [a.shape, b.shape]));
    return y;
  });
}

for (const name of ['Abs', 'Neg', 'Expm1', 'Log', 'Log1p', 'Sqrt', 'Rsqrt', 'Square', 'Reciprocal', 'Sigmoid', 'Tanh', 'Erf', 'Softplus', 'Relu', 'Relu6',
  'Elu', 'Selu', 'Sign', 'Floor', 'Ceil', 'Round', 'Sin', 'Cos', 'Tan', 'Asin', 'Acos', 'Atan', 'Sinh', 'Cosh', 'Asinh', 'Acosh', 'Atanh']) defineUnary(name);
for (const name of ['IsNan', 'IsInf', 'IsFinite', 'LogicalNot']) defineUnary(name, 'bool');
for (const name of ['Gelu', 'GeluNew', 'Silu']) defineUnary(name);
defineUnary('Exp', 'float32');
defineUnary<{ alpha: number }>('LeakyRelu', 'float32', ({ alpha }) => [alpha]);
defineUnary<{ alpha: number }>('Step', undefined, ({ alpha }) => [alpha]);
defineUnary<{ clipValueMin: number; clipValueMax: number }>('ClipByValue', undefined, ({ clipValueMin, clipValueMax }) => [clipValueMin, clipValueMax]);

for (const name of ['Add', 'Sub', 'Multiply', 'RealDiv', 'Maximum', 'Minimum', 'SquaredDifference', 'Pow', 'Mod', 'Atan2', 'BitwiseAnd']) defineBinary(name);
for (const name of ['Equal', 'NotEqual', 'Less', 'LessEqual', 'Greater', 'GreaterEqual', 'LogicalAnd', 'LogicalOr']) defineBinary(name, 'bool');
defineBinary('FloorDiv', 'int32');
defineBinary('AddRelu', 'float32');
defineBinary('Prelu', 'float32', 'x', 'alpha');
defineBinary('EluGrad', 'float32', 'dy', 'y');
for (const name of ['ReluGrad', 'SigmoidGrad', 'TanhGrad']) defineBinary(name, 'float32', 'dy', 'y');
for (const name of ['GeluGrad', 'GeluNewGrad', 'SiluGrad']) defineBinary(name, 'float32', 'dy', 'x');

defineNumeric('AddN', ({ inputs, backend }) => {
  const terms = Object.values(inputs);
  if (terms.every((t) => t.dtype === 'float32')) {
    const y = backend.output(terms[0].shape, 'float32');
    backend.native.addN(terms.map((t) => backend.handle(t)), backend.handle(y));
    return y;
  }
  const add = numbered('binaryOp', 'Add')(backend);
  return terms.slice(1).reduce((sum, t) => {
    const y = backend.output(terms[0].shape, typeOf(terms[0]));
    backend.native.binary(add, backend.handle(sum), backend.handle(t), backend.handle(y));
    backend.release(sum);
    return y;
  }, backend.alias(terms[0]));
});

defineNumeric('Select', ({ inputs: { condition, t, e }, backend }) => {
  const dtype = tf.upcastType(t.dtype, e.dtype) as NativeType;
  const branches = [t, e].map((x) => castTo(backend, x, dtype));
  const y = backend.output(t.shape, dtype);
  backend.native.select(backend.handle(condition), backend.handle(branches[0]), backend.handle(branches[1]), backend.handle(y));
  branches.forEach((x) => backend.release(x));
  return y;
});

/** A reference of one's own to `x` as `dtype`. */
export function castTo(backend: GraftBackend, x: tf.TensorInfo, dtype: NativeType): tf.TensorInfo {
  if (x.dtype === dtype) return backend.alias(x);
  const y = backend.output(x.shape, dtype);
  backend.native.cast(backend.handle(x), backend.handle(y));
  return y;
}

defineNumeric<{ dtype: tf.DataType }>('Cast', ({ inputs: { x }, attrs: { dtype }, backend }) => {
  if (dtype === 'complex64') return backend.complex(castTo(backend, x, 'float32'), filled(backend, x.shape, 0, 'float32'));
  if (dtype === 'string') throw new Error(`Error in Cast: failed to cast ${x.dtype} to string`);
  return castTo(backend, x, dtype);
});

function filled(backend: GraftBackend, shape: readonly number[], value: number, dtype: NativeType): tf.TensorInfo {
  const y = backend.output(shape, dtype);
  backend.native.fill(backend.handle(y), value);
  return y;
}

defineNumeric<{ shape: number[]; value: number | string; dtype?: tf.DataType }>('Fill', ({ attrs: { shape, value, dtype }, backend }) => {
  const type = dtype ?? tf.util.inferDtype(value);
  if (type === 'string') return backend.make(stringValues(String(value), tf.util.sizeFromShape(shape)), shape, 'string');
  return filled(backend, shape, Number(value), type as NativeType);
});

const stringValues = (text: string, count: number): Uint8Array[] => new Array<Uint8Array>(count).fill(tf.util.encodeString(text));

defineNumeric('ZerosLike', ({ inputs: { x }, backend }) => filled(backend, x.shape, 0, typeOf(x)));
defineNumeric('OnesLike', ({ inputs: { x }, backend }) => filled(backend, x.shape, 1, typeOf(x)));
