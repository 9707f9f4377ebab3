import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** The addon's exports (kernels/cpu/*.cc): numbers, handles, small integer lists, typed arrays and texts in; a number or nothing out. */
export type Native = Record<string, (...args: NativeArgument[]) => number>;
export type NativeArgument = number | boolean | string | null | undefined | ArrayLike<number> | ArrayBufferView;

/** Storage codes of core.h. */
export const STORAGE = { F32: 0, I32: 1, BOOL: 2, F16: 3, BF16: 4 } as const;

let loaded: Native | null | undefined;

/** Where the addon may be: built on this machine, or come with the package. */
const PLACES = ['build', `prebuilt/${process.platform}-${process.arch}`];

/** The native addon, or null where there is none that runs here. GRAFT_ADDON names another build of it, which must load, or says `none`. */
export function native(): Native | null {
  if (loaded === undefined) {
    const { GRAFT_ADDON: chosen } = process.env;
    loaded = null;
    if (chosen) loaded = chosen === 'none' ? null : load(chosen);
    else for (const place of PLACES) loaded ??= tryLoad(fileURLToPath(new URL(`../../${place}/graft_cpu.node`, import.meta.url)));
  }
  return loaded;
}

const load = (path: string): Native => createRequire(import.meta.url)(path) as Native;

function tryLoad(path: string): Native | null {
  try {
    return load(path);
  } catch {
    return null;
  }
}
