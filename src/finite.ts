import type { GraftError } from './errors.js';
import { dataError } from './errors.js';
import { decode, isFloat } from './formats/dtype.js';
import type { Runtime } from './runtime.js';

/** Values looked at in one go. */
const BLOCK = 1 << 20;

/**
 * The error that names the first weight of the checkpoint or of a stored graft that holds NaN or infinity: what to say where a result is
 * not finite, rather than a search before every run. Null where the weights are sound.
 * @param grafts whether the grafts are still those that were read
 */
export function unsoundWeight({ checkpoint, grafts }: Pick<Runtime, 'checkpoint' | 'grafts'>, { grafts: stored = true }: { grafts?: boolean } = {}): GraftError | null {
  for (const name of checkpoint.names()) {
    const { dtype, length } = checkpoint.info(name);
    for (let at = 0; isFloat(dtype) && at < length; at += BLOCK) {
      if (!isFinite(decode(checkpoint.read(name, at, BLOCK), dtype)!)) return dataError(`${checkpoint.path}: tensor '${name}' holds values that are not finite (NaN or infinity); use an undamaged checkpoint`);
    }
  }
  for (const graft of stored ? grafts : []) {
    for (const [name, t] of graft.tensors) if (!isFinite(t.dataSync())) return dataError(`the ${graft.method.name} graft: tensor '${name}' holds values that are not finite (NaN or infinity); train it anew`);
  }
  return null;
}

export const isFinite = (values: ArrayLike<number>): boolean => {
  let nothing = 0;
  for (let i = 0; i < values.length; i++) nothing += values[i] * 0; // NaN times 0 and infinity times 0 are NaN
  return nothing === 0;
};
