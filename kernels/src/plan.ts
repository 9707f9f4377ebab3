import * as tf from '@tensorflow/tfjs-core';
import { GraftBackend } from './backend.js';
import type { Precision } from './backends.js';
import { native, STORAGE, type Native, type NativeArgument } from './native.js';

export type PlannedDevice = 'cpu' | 'cuda';

/** Bytes of memory as a backend that only counts has them. */
export interface PlannedMemory {
  /** In tensors now, and the most since the plan began or `restart`. On a GPU with the weights there. */
  live: number;
  peak: number;
  /** Mapped weights that were asked for: on the CPU as they lie in their files. */
  read: number;
  /** Copies of mapped weights: packed for products on the CPU, all that is there on a GPU. */
  packed: number;
}

export interface Plan {
  memory(): PlannedMemory;
  /** The peak is counted from now on. */
  restart(): void;
}

interface Planned { backend: GraftBackend; plan: Plan }

/**
 * Makes a backend current that computes nothing: the operations run as on that device, down to the native functions, which here only
 * count the memory that tensors take. What is read back is 0. For a process of its own: the device cannot be used in it any more.
 * @returns null for a GPU without the addon, whose launchers say what it takes
 */
export async function planBackend(device: PlannedDevice, { precision = 'f32' }: { precision?: Precision } = {}): Promise<Plan | null> {
  const addon = native(), name = `graft-${device}`;
  if (device === 'cuda' && !addon) return null;
  if (tf.findBackendFactory(name)) tf.removeBackend(name);
  await import('./cpu/index.js');
  const { registerFallbacks } = await import('./fallback.js');
  const { backend, plan } = device === 'cpu' ? planCpu(addon, precision) : await planCuda(addon!, precision);
  tf.registerBackend(name, () => backend);
  registerFallbacks(name);
  await tf.setBackend(name);
  return plan;
}

async function planCuda(addon: Native, precision: Precision): Promise<Planned> {
  addon['cuda:plan']();
  const { GraftCudaBackend } = await import('./cuda.js');
  const backend = new GraftCudaBackend(addon);
  backend.usePrecision(precision);
  const memory = (): PlannedMemory => {
    const { live, peak, packed } = backend.memory();
    return { live, peak, packed, read: packed };
  };
  return { backend, plan: { memory, restart: () => { addon['cuda:plan'](); } } };
}

interface Block { count: number; storage: number; mapped: boolean; kept: Map<string, number> }

/** Products of so few rows read a weight where it lies (cpu/few-rows.h). */
const FEW_ROWS = 4;
/** Columns of a weight's packed copy are rounded up to so many (cpu/panels.h), by the addon's instruction set. */
const PANELS = [8, 16, 32, 32];

/** Bytes of a matrix as codes (cpu/coded.h). */
const CODES = {
  int8: (count: number, rows: number): number => count + 4 * rows,
  nf4: (count: number): number => Math.ceil(count / 2) + Math.ceil(count / 64) + 4 * Math.ceil(count / 64 / 256),
};

/** graft-cpu's memory: its size classes (cpu/memory.cc) and the copies of weights that products keep (cpu/gemm.cc, cpu/conv.cc). */
function planCpu(addon: Native | null, precision: Precision): Planned {
  const blocks = new Map<number, Block>(), m = { live: 0, peak: 0, packed: 0, read: 0 };
  let next = 0;
  const add = (block: Omit<Block, 'kept'>): number => (blocks.set(next, { ...block, kept: new Map() }), next++);
  const take = (bytes: number): void => {
    m.live += bytes;
    m.peak = Math.max(m.peak, m.live);
  };
  /** A copy of a mapped weight, once for every way it is laid out. */
  const keep = (handle: NativeArgument, way: string, bytes: number): void => {
    const block = blocks.get(handle as number);
    if (!block?.mapped || block.kept.has(way)) return;
    block.kept.set(way, bytes);
    m.packed += bytes;
  };
  const half = precision !== 'f32', panel = PANELS[addon?.isa() ?? 0], whole = (n: number): number => Math.ceil(n / panel) * panel;
  /** A filter of one direction: a mapped one's copy is kept, another's is made for the call alone. */
  const filter = (handle: NativeArgument, way: string, geometry: NativeArgument): number => {
    const { mapped, count } = blocks.get(handle as number)!, bytes = addon ? Number(addon.convFilterBytes(geometry, way === 'gradient', mapped)) : 4 * count;
    if (mapped) keep(handle, way, bytes);
    else m.peak = Math.max(m.peak, m.live + classBytes(bytes));
    return 0;
  };
  const own: Native = {
    create: (count, storage) => {
      take(classBytes(Number(count) * widthOf(Number(storage))));
      return add({ count: Number(count), storage: Number(storage), mapped: false });
    },
    destroy: (handle) => {
      const { count, storage, mapped, kept } = blocks.get(handle as number)!;
      if (mapped) m.read -= count * widthOf(storage);
      else m.live -= classBytes(count * widthOf(storage));
      for (const bytes of kept.values()) m.packed -= bytes;
      blocks.delete(handle as number);
      return 0;
    },
    count: (handle) => blocks.get(handle as number)!.count,
    counter: (i) => [m.live, m.peak, 0, 0, m.packed, blocks.size][i as number],
    mapOpen: () => 0,
    mapTensor: (...args) => {
      m.read += Number(args[2]) * widthOf(Number(args[3]));
      return add({ count: Number(args[2]), storage: Number(args[3]), mapped: true });
    },
    product: (_a, b, _out, rows, columns, depth, _ta, transposed, _alpha, _add, _bias, _activation, _before, coded) => {
      if (coded && precision in CODES) {
        keep(b, 'codes', CODES[precision as keyof typeof CODES](blocks.get(b as number)!.count, Number(transposed ? columns : depth)));
        return 0;
      }
      const width = whole(Number(columns)), units = half ? Math.ceil(Number(depth) / 2) : Number(depth);
      if (half || Number(rows) > FEW_ROWS) keep(b, `${transposed}`, width * units * 4);
      return 0;
    },
    convForward: (_x, w, _b, _y, geometry) => filter(w, 'forward', geometry),
    convInputGradient: (_dy, w, _dx, geometry) => filter(w, 'gradient', geometry),
  };
  // Decompositions and the like work on arrays, and numbers are numbers.
  const REAL = /^(isa|threads|unaryOp|binaryOp|reflectRows|rotateRows|bidiagonalise|tridiagonalise|doubleMatMul)$/;
  const counting = new Proxy(own, { get: (functions, name: string) => functions[name] ?? (REAL.test(name) && addon ? addon[name] : () => 0) });
  return { backend: new GraftBackend('graft-cpu', counting), plan: { memory: () => ({ ...m }), restart: () => { m.peak = m.live; } } };
}

/** Multiples of 64 up to 1 KiB, then four classes a doubling. */
function classBytes(bytes: number): number {
  if (bytes <= 1024) return Math.max(64, Math.ceil(bytes / 64) * 64);
  const step = 2 ** (Math.floor(Math.log2(bytes - 1)) - 2);
  return Math.ceil(bytes / step) * step;
}

const widthOf = (storage: number): number => (storage === STORAGE.BOOL ? 1 : storage === STORAGE.F16 || storage === STORAGE.BF16 ? 2 : 4);
