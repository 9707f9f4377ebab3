import { useBackend, type BackendName } from '@graft/kernels';
import type { Arguments } from './commands/command.js';
import { usageError } from './errors.js';

/** Makes the backend the command line asks for current; a warning about a slower one goes to standard error. */
export async function startCompute(args: Arguments): Promise<void> {
  // An option that did nothing would be worse than one that is refused.
  if (args.precision === 'bf16') throw usageError('--precision bf16: products with bf16 arithmetic are not there yet; bf16 checkpoints are read as they are under f32');
  const warn = args.quiet ? undefined : (line: string): void => { process.stderr.write(`graft: ${line}\n`); };
  await useBackend(args.backend as BackendName, { threads: args.threads, warn });
}
