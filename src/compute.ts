import { useBackend, type BackendName } from '@graft/kernels';
import { usageError } from './errors.js';
import type { Arguments } from './commands/command.js';

/**
 * Makes the backend the command line asks for current; a warning about a slower one goes to standard error.
 * @throws GraftError (usage) where it is not there
 */
export async function startCompute(args: Arguments): Promise<void> {
  const warn = args.quiet ? undefined : (line: string): void => { process.stderr.write(`graft: ${line}\n`); };
  try {
    await useBackend(args.backend as BackendName, { threads: args.threads, precision: args.precision, warn });
  } catch (e) {
    throw usageError((e as Error).message, e);
  }
}
