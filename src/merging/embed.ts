import { Rng } from '@graft/kernels';
import meteora, { meteoraOptions, type MeteoraConfig } from '../adapters/meteora.js';
import { defaults } from '../adapters/instantiate.js';
import { dataError, usageError } from '../errors.js';
import { bytesOf, decode } from '../formats/dtype.js';
import type { Graft, StoredTensor } from '../formats/graft.js';
import { concatenateLora } from './concatenate.js';
import type { MergingMethod } from './method.js';

/**
 * LoRA grafts as the bank of one MeteoRA graft, with gates that are yet to be trained. Ranks are filled up with zeros to the largest, and
 * so are adapters at modules they do not change. A MeteoRA graft alone stays as it is but for the options given.
 */
const embed: MergingMethod<Partial<MeteoraConfig>> = {
  name: meteora.name,
  summary: 'LoRA grafts into one graft that chooses from them for every token (MeteoRA); a meteora graft alone: its options anew',
  paper: meteora.paper,
  options: meteoraOptions,
  needsBase: false,
  merge() { throw usageError('--method meteora makes one graft of LoRA grafts: leave out --model and checkpoints'); },

  grafts(given, weights, config) {
    const { names, seed, ...set } = config;
    const own = Object.fromEntries(Object.entries({ ...set, ...(names?.length && { names }) }).filter(([, v]) => v !== undefined));
    if (given.length === 1 && given[0].method === meteora.name) return checked({ ...given[0], config: { ...given[0].config, ...own } }, (given[0].config.names as string[]).length);
    const banks = given.map((graft, i) => bankOf(graft, weights[i]));
    const modules = [...new Set(banks.flatMap((b) => [...b.keys()]))].sort();
    const rank = Math.max(...banks.flatMap((b) => [...b.values()].map(({ A }) => A.shape[0])));
    const tensors = new Map<string, StoredTensor>();
    for (const module of modules) stacked(module, banks.map((b) => b.get(module)), rank, Number(seed ?? 0), tensors);
    const made = { ...defaults(meteora.options), names: given.map((_, i) => String(i + 1)), ...own, rank, targetModules: modules };
    return checked({ ...given[0], method: meteora.name, config: made, tensors }, given.length);
  },
};

export default embed;

interface Pair { A: StoredTensor; B: StoredTensor }

function checked(graft: Graft, N: number): Graft {
  const { names, topK, temperature } = graft.config as MeteoraConfig;
  if (N < 2) throw usageError('--method meteora chooses between adapters: give two grafts or more');
  if (names.length !== N || new Set(names).size !== N) throw usageError(`--names ${names.join(',')}: ${N} different names are needed, one a graft`);
  if (topK > N || !Number.isInteger(topK)) throw usageError(`--top-k ${topK}: it must be a whole number up to the ${N} adapters`);
  if (!(temperature > 0)) throw usageError(`--temperature ${temperature}: it must be above 0`);
  return graft;
}

/** The pairs of a LoRA graft by module, scales in A. @throws GraftError for what a bank cannot hold */
function bankOf(graft: Graft, weight: number): Map<string, Pair> {
  if (graft.method !== 'lora') throw usageError(`--method meteora takes lora grafts; one is ${graft.method}`);
  const plain = concatenateLora([{ graft, weight }]), pairs = new Map<string, Pair>();
  for (const [name, A] of plain.tensors) {
    const module = /^(.*)\.lora_A\.weight$/.exec(name)?.[1];
    if (module !== undefined) pairs.set(module, { A, B: plain.tensors.get(`${module}.lora_B.weight`)! });
    else if (!name.endsWith('.lora_B.weight')) throw dataError(`'${name}' has no place in a meteora graft, which holds pairs of linear modules`);
    if (A.shape.length !== 2) throw dataError(`'${name}' is of a convolution: a meteora graft holds pairs of linear modules`);
  }
  const whole = [...graft.tensors.keys()].find((name) => !/\.lora_(embedding_)?[AB]0?(\.weight|\.bias)?$/.test(name));
  if (whole !== undefined) throw dataError(`'${whole}' has no place in a meteora graft, which holds pairs of linear modules`);
  return pairs;
}

/** The bank at one module, and its gate drawn from the seed. */
function stacked(module: string, pairs: readonly (Pair | undefined)[], rank: number, seed: number, into: Map<string, StoredTensor>): void {
  const N = pairs.length, [some] = pairs.filter((p) => p !== undefined), dimIn = some!.A.shape[1], dimOut = some!.B.shape[0];
  const A = new Float32Array(N * rank * dimIn), B = new Float32Array(dimOut * N * rank);
  pairs.forEach((pair, n) => {
    if (!pair) return;
    if (pair.A.shape[1] !== dimIn || pair.B.shape[0] !== dimOut) throw dataError(`the grafts change '${module}' in different shapes: they were made for different models`);
    const r = pair.A.shape[0], up = decode(pair.B.data, pair.B.dtype)!;
    A.set(decode(pair.A.data, pair.A.dtype)!, n * rank * dimIn);
    for (let i = 0; i < dimOut; i++) B.set(up.subarray(i * r, (i + 1) * r), (i * N + n) * rank);
  });
  const rng = new Rng(seed, `${module}.meteora_gate`), gate = Float32Array.from({ length: N * dimIn }, () => rng.uniform(-1, 1) / Math.sqrt(dimIn));
  const put = (name: string, shape: number[], values: Float32Array): void => { into.set(`${module}.meteora_${name}`, { dtype: 'F32', shape, data: bytesOf(values) }); };
  put('A', [N * rank, dimIn], A);
  put('B', [dimOut, N * rank], B);
  put('gate', [N, dimIn], gate);
}
