import { dataError } from '../errors.js';
import type { Graft } from './graft.js';

/** Reads an adapter in the PEFT layout. */
export async function readPeft(directory: string): Promise<Graft> {
  throw dataError(`${directory}: PEFT adapters are read by a later commit`);
}
