import { scoped, tf, type Tensor } from '@graft/kernels';
import { owners, paramsAt } from '../adapters/blocks.js';
import codyra from '../adapters/codyra.js';
import increlora from '../adapters/increlora.js';
import { configOf } from '../adapters/instantiate.js';
import type { Method } from '../adapters/method.js';
import triadaptlora from '../adapters/triadaptlora.js';
import { loadTensor, storeTensor, type Graft } from '../formats/graft.js';

/** Methods whose change is s·B A at every module, and the tensor there that reads. */
const FORMS: Record<string, { method: Method<any>; reads: string }> = { // eslint-disable-line @typescript-eslint/no-explicit-any
  codyra: { method: codyra, reads: 'lora_A.weight' }, increlora: { method: increlora, reads: 'lora_A' }, triadaptlora: { method: triadaptlora, reads: 'tri_A' },
};

export const unfolds = (graft: Graft): boolean => Object.hasOwn(FORMS, graft.method);

/**
 * A graft that allocated ranks as the plain LoRA it is, exactly: gates, cores and scales go into the factors, the ranks into patterns.
 * Modules left without ranks are left out. For grafts that unfold.
 */
export function unfolded(graft: Graft): Graft {
  const form = FORMS[graft.method];
  const config = configOf(form.method, graft);
  return scoped(() => {
    const values = new Map([...graft.tensors].map(([name, t]): [string, Tensor] => [name, loadTensor(name, t)]));
    const tensors = new Map([...graft.tensors].filter(([name]) => !/\.(lora|tri)_\w+(\.weight)?(\.\d+)?$/.test(name)));
    const ranks: string[] = [], modules: string[] = [];
    for (const module of owners(values, form.reads)) {
      const p = paramsAt(values, module), { A, B, scale } = form.method.weightChange!({ name: module, kind: 'linear' } as never, p, config), r = A.shape[0];
      if (r === 0) continue;
      const window = p[form.reads].shape.slice(1);
      tensors.set(`${module}.lora_A.weight`, storeTensor(tf.reshape(A, [r, ...window])));
      tensors.set(`${module}.lora_B.weight`, storeTensor(tf.reshape(tf.mul(B, scale), [B.shape[0], r, ...window.slice(1).map(() => 1)])));
      ranks.push(`${module}=${r}`);
      modules.push(module);
    }
    return { ...graft, method: 'lora', config: { rank: 1, alpha: 1, dropout: config.dropout, rslora: false, loraBias: false, init: 'kaiming', rankPattern: ranks, alphaPattern: ranks, targetModules: modules }, tensors };
  });
}
