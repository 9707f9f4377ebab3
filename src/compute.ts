import { useBackend, type BackendName } from '@graft/kernels';
import type { Arguments } from './commands/command.js';

/** Makes the backend the command line asks for current; a warning about a slower one goes to standard error. */
export async function startCompute(args: Arguments): Promise<void> {
  const warn = args.quiet ? undefined : (line: string): void => { process.stderr.write(`graft: ${line}\n`); };
  await useBackend(args.backend as BackendName, { threads: args.threads, warn });
}
