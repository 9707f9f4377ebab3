import { useBackend, type BackendName } from '@graft/kernels';
import type { Arguments } from './commands/command.js';
import { EXIT, GraftError } from './errors.js';

/**
 * Makes the backend the command line asks for current; a warning about a slower one goes to standard error.
 * @param device the number of the GPU
 * @throws GraftError (1) where it is not there, or not in that precision
 */
export async function startCompute(args: Arguments, device?: number): Promise<void> {
  const warn = args.quiet ? undefined : (line: string): void => { process.stderr.write(`graft: ${line}\n`); };
  let backend: string;
  try {
    backend = await useBackend(args.backend as BackendName, { threads: args.threads, precision: args.precision, device, warn });
  } catch (error) {
    throw new GraftError((error as Error).message, EXIT.failed, { cause: error });
  }
  if (backend === 'cuda' && warn) await reportFallbacks(warn);
}

/** Says at the end which operations left the GPU, and how often. */
async function reportFallbacks(warn: (line: string) => void): Promise<void> {
  const { fallbackCounts } = await import('@graft/kernels/fallback');
  process.once('exit', () => {
    const counts = Object.entries(fallbackCounts()).sort(([, a], [, b]) => b - a);
    if (counts.length > 0) warn(`without a kernel on the GPU, run on the host: ${counts.map(([name, n]) => `${name} (${n})`).join(', ')}`);
  });
}
