import type { OptionSpecs } from '../../options.js';
import type { Arguments } from '../command.js';

/** One thing that `graft data` does. */
export interface Operation {
  name: string;
  summary: string;
  /** Its operands, after its own name. */
  operands: string;
  options: OptionSpecs;
  /** `args._` holds the operands without the operation's name. */
  run(args: Arguments): Promise<void>;
}
