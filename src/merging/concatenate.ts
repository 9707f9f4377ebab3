import { scaleAt, type LoraConfig } from '../adapters/lora.js';
import { dataError } from '../errors.js';
import { bytesOf, decode } from '../formats/dtype.js';
import type { Graft, StoredTensor } from '../formats/graft.js';

/** A pair of factors, B [out, r] · A [r, in], in the shapes they are stored in. */
interface Factors { A: StoredTensor; B: StoredTensor; scale: number }

/**
 * LoRA grafts as one, exactly: Σ wᵢ sᵢ BᵢAᵢ = [B₁ B₂ …] · [w₁s₁A₁; w₂s₂A₂; …]. Ranks add, the result has scale 1. A graft with a
 * moved start (PiSSA) counts with both factors, s·(BA − B₀A₀), so that one alone becomes plain LoRA of twice its rank.
 * Tensors outside the pairs are not in the result.
 */
export function concatenateLora(parts: readonly { graft: Graft; weight: number }[]): Graft {
  const modules = new Map<string, { stem: string; end: string; factors: Factors[] }>();
  const biases = new Map<string, Float32Array>();
  for (const { graft, weight } of parts) {
    for (const name of graft.tensors.keys()) {
      const [, module, stem, end] = /^(.*)\.(lora_(?:embedding_)?)A(|\.weight)$/.exec(name) ?? [];
      if (module === undefined) continue;
      const scale = weight * scaleAt({ name: module }, graft.config as unknown as LoraConfig);
      const at = modules.get(module) ?? { stem, end, factors: [] };
      modules.set(module, at);
      at.factors.push(...factorsOf(graft, module, stem, end, scale));
      addBias(biases, graft.tensors.get(`${module}.lora_B.bias`), `${module}.lora_B.bias`, scale);
    }
  }
  const tensors = new Map<string, StoredTensor>();
  const ranks = new Map<string, number>();
  for (const [module, { stem, end, factors }] of modules) {
    const { A, B } = stack(module, factors);
    ranks.set(module, A.shape[0]);
    tensors.set(`${module}.${stem}A${end}`, A);
    tensors.set(`${module}.${stem}B${end}`, B);
  }
  const loraBias = biases.size > 0;
  const table = loraBias && [...modules].find(([, { end }]) => end === '')?.[0];
  if (table) throw dataError(`one graft has a bias on B and one changes the embedding '${table}', where there is none: give --model to fold both into it`);
  if (loraBias) for (const [module, { factors }] of modules) tensors.set(`${module}.lora_B.bias`, biasOf(biases.get(`${module}.lora_B.bias`), factors[0].B.shape[0]));
  return { ...parts[0].graft, config: configOf(ranks, parts, loraBias), tensors };
}

function factorsOf({ tensors, config }: Graft, module: string, stem: string, end: string, scale: number): Factors[] {
  const get = (which: string): StoredTensor => {
    const tensor = tensors.get(`${module}.${stem}${which}${end}`);
    if (!tensor) throw dataError(`the graft lacks '${module}.${stem}${which}${end}'`);
    return tensor;
  };
  const now = { A: get('A'), B: get('B'), scale };
  return config.residual ? [now, { A: get('A0'), B: get('B0'), scale: -scale }] : [now];
}

function stack(module: string, factors: readonly Factors[]): { A: StoredTensor; B: StoredTensor } {
  const { A: a, B: b } = factors[0];
  for (const { A, B } of factors) {
    if (A.shape.slice(1).join() !== a.shape.slice(1).join() || B.shape[0] !== b.shape[0]) throw dataError(`the grafts change '${module}' in different shapes: they were made for different models`);
  }
  const rank = factors.reduce((r, { A }) => r + A.shape[0], 0);
  const A = new Float32Array(rank * size(a.shape.slice(1)));
  const out = b.shape[0];
  const B = new Float32Array(out * rank);
  let row = 0;
  for (const f of factors) {
    const r = f.A.shape[0], up = floats(f.B);
    A.set(floats(f.A).map((v) => f.scale * v), row * size(a.shape.slice(1)));
    for (let i = 0; i < out; i++) B.set(up.subarray(i * r, (i + 1) * r), i * rank + row);
    row += r;
  }
  return { A: stored(A, [rank, ...a.shape.slice(1)]), B: stored(B, [out, rank, ...b.shape.slice(2)]) };
}

/** The commonest rank for all, the others by module; alpha equals the rank throughout. */
function configOf(ranks: ReadonlyMap<string, number>, parts: readonly { graft: Graft }[], loraBias: boolean): Record<string, unknown> {
  const counts = new Map<number, number>();
  for (const r of ranks.values()) counts.set(r, (counts.get(r) ?? 0) + 1);
  const rank = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0])[0][0];
  const pattern = [...ranks].filter(([, r]) => r !== rank).map(([module, r]) => `${module.replaceAll('.', '\\.')}=${r}`);
  const { targetModules, excludeModules, layersToTransform } = parts[0].graft.config;
  const targets = parts.length === 1 ? { targetModules, excludeModules, layersToTransform } : { targetModules: [...ranks.keys()] };
  return { rank, alpha: rank, dropout: 0, rslora: false, loraBias, init: 'kaiming', rankPattern: pattern, alphaPattern: pattern, ...targets };
}

function addBias(biases: Map<string, Float32Array>, tensor: StoredTensor | undefined, name: string, scale: number): void {
  if (!tensor) return;
  const sum = biases.get(name);
  biases.set(name, floats(tensor).map((v, j) => scale * v + (sum?.[j] ?? 0)));
}

const biasOf = (values: Float32Array | undefined, length: number): StoredTensor => stored(values ?? new Float32Array(length), [length]);
const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const stored = (values: Float32Array, shape: number[]): StoredTensor => ({ dtype: 'F32', shape, data: bytesOf(values) });

function floats({ data, dtype }: StoredTensor): Float32Array {
  const values = decode(data, dtype);
  if (!(values instanceof Float32Array)) throw dataError(`a LoRA factor is ${dtype}, not a float`);
  return values;
}
