import spm from '../adapters/spm.js';
import { dataError, usageError } from '../errors.js';
import { bytesOf, decode } from '../formats/dtype.js';
import type { Graft, StoredTensor } from '../formats/graft.js';
import type { MergingMethod } from './method.js';

/**
 * Several SPMs as one for a prompt, as their authors' script makes it: with weights γ_j the vectors themselves are added up, (Σ γ_j u_j)(Σ γ_j v_j)ᵀ, which
 * holds γ² of each and products of one's u with another's v. Grafts applied side by side add up Σ γ_j u_j v_jᵀ, as the paper has it.
 */
const spmFactors: MergingMethod = {
  name: 'spm-factors',
  summary: 'spm grafts into one by adding up their vectors, each times its --weight γ, as the published script does; side by side (--graft twice) their changes add up',
  paper: spm.paper,
  options: {},
  needsBase: false,
  merge() { throw usageError('--method spm-factors makes one graft of spm grafts: leave out --model and checkpoints'); },

  grafts(given, weights) {
    const other = given.find((g) => g.method !== spm.name);
    if (other) throw usageError(`--method spm-factors takes spm grafts; one is ${other.method}`);
    const [first] = given, tensors = new Map<string, StoredTensor>();
    for (const [name, { shape }] of first.tensors) {
      const sum = new Float32Array(shape.reduce((a, b) => a * b, 1));
      given.forEach((graft, j) => {
        const t = graft.tensors.get(name);
        if (!t || t.shape.join() !== shape.join() || graft.tensors.size !== first.tensors.size || graft.config.alpha !== first.config.alpha) throw dataError(`the grafts differ in modules, rank or alpha (at '${name}'): their vectors cannot be added up`);
        decode(t.data, t.dtype)!.forEach((v, i) => { sum[i] += weights[j] * Number(v); });
      });
      tensors.set(name, { dtype: 'F32', shape, data: bytesOf(sum) });
    }
    return { ...first, config: { ...first.config, concept: [...new Set(given.flatMap((g: Graft) => (g.config.concept ?? []) as string[]))], permeability: 1 }, tensors };
  },
};

export default spmFactors;
