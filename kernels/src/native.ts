import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** The addon's exports (kernels/cpu/*.cc): numbers, handles, small integer lists, typed arrays and texts in; a number or nothing out. */
export type Native = Record<string, (...args: NativeArgument[]) => number>;
export type NativeArgument = number | boolean | string | null | undefined | ArrayLike<number> | ArrayBufferView;

/** Storage codes of core.h. */
export const STORAGE = { F32: 0, I32: 1, BOOL: 2, F16: 3, BF16: 4 } as const;

let loaded: Native | null | undefined;

/** The native addon, or null where it was not built. GRAFT_ADDON names another build of it. */
export function native(): Native | null {
  if (loaded === undefined) {
    const path = process.env.GRAFT_ADDON ?? fileURLToPath(new URL('../../build/graft_cpu.node', import.meta.url));
    try {
      loaded = createRequire(import.meta.url)(path) as Native;
    } catch (error) {
      if (process.env.GRAFT_ADDON) throw error;
      loaded = null;
    }
  }
  return loaded;
}
