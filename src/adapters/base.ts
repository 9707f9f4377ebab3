import { dataError } from '../errors.js';
import type { Checkpoint } from '../formats/checkpoint.js';
import { decode } from '../formats/dtype.js';
import type { Base } from './instantiate.js';

/** A checkpoint as new grafts see it: headers, and values read when they are asked for. */
export function baseOf(checkpoint: Checkpoint): Base {
  return {
    names: () => checkpoint.names(),
    shape: (name) => (checkpoint.has(name) ? checkpoint.info(name).shape : undefined),
    values(name) {
      const values = decode(checkpoint.read(name), checkpoint.info(name).dtype);
      if (!values) throw dataError(`${checkpoint.path}: tensor '${name}' is ${checkpoint.info(name).dtype}, which graft cannot compute with`);
      return Float32Array.from(values as ArrayLike<number>);
    },
  };
}
