import type { Head } from '../models/model.js';

/** Version of the layout of `__metadata__.graft`. */
export const GRAFT_VERSION = 1;

export type StoredDtype = 'F32' | 'F16' | 'BF16' | 'F64' | 'I64' | 'I32' | 'I16' | 'I8' | 'U64' | 'U32' | 'U16' | 'U8' | 'BOOL' | 'F8_E4M3' | 'F8_E5M2';

/** A tensor as it lies in a file. */
export interface StoredTensor { dtype: StoredDtype; shape: number[]; data: Uint8Array }

/** What a graft was made for. */
export interface Fingerprint {
  /** `model_type` of the base. */
  type: string;
  /** SHA-256 over the names, dtypes and shapes of the base's tensors. */
  headers: string;
}

/** A small trained change to a frozen model: one safetensors file. */
export interface Graft {
  method: string;
  /** The method's configuration: the values of its options. */
  config: Record<string, unknown>;
  base: Fingerprint;
  head: Head | null;
  /** The commands that made it, oldest first. */
  history: string[];
  /** Sorted by name when written. */
  tensors: Map<string, StoredTensor>;
}
