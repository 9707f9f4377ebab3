import { createHash } from 'node:crypto';
import { Ranks } from '@graft/kernels';
import type { Arguments } from '../commands/command.js';
import { EXIT, GraftError, usageError } from '../errors.js';

/** Where a process stands among those that a launcher started. */
export interface Place { rank: number; size: number; /** Among those of its machine, and how many these are. */ local: number; locals: number; host: string; port: number }

type Environment = Record<string, string | undefined>;

/** By launcher: rank, size, number on the machine, how many are there, and what is the same in all processes of a run. */
const LAUNCHERS: { rank: string; size: string[]; local: string[]; localSize: string[]; run: string[] }[] = [
  { rank: 'OMPI_COMM_WORLD_RANK', size: ['OMPI_COMM_WORLD_SIZE'], local: ['OMPI_COMM_WORLD_LOCAL_RANK'], localSize: ['OMPI_COMM_WORLD_LOCAL_SIZE'], run: ['PMIX_NAMESPACE', 'OMPI_MCA_ess_base_jobid'] },
  { rank: 'PMI_RANK', size: ['PMI_SIZE'], local: ['MPI_LOCALRANKID', 'PMI_LOCAL_RANK'], localSize: ['MPI_LOCALNRANKS', 'PMI_LOCAL_SIZE'], run: ['SLURM_JOB_ID'] },
  // A batch script has SLURM_PROCID too; the number of tasks of a step only what srun started.
  { rank: 'SLURM_PROCID', size: ['SLURM_STEP_NUM_TASKS'], local: ['SLURM_LOCALID'], localSize: ['SLURM_NTASKS_PER_NODE'], run: ['SLURM_JOB_ID'] },
  { rank: 'RANK', size: ['WORLD_SIZE'], local: ['LOCAL_RANK'], localSize: ['LOCAL_WORLD_SIZE'], run: ['TORCHELASTIC_RUN_ID'] },
];

/**
 * What mpirun, srun or torchrun's variables say; null for a process that is alone.
 * @throws GraftError (64) where a variable is no number that fits, or the machine of rank 0 is not known
 */
export function placeOf(env: Environment = process.env): Place | null {
  const first = (names: string[]): string | undefined => names.map((n) => env[n]).find((v) => v !== undefined && v !== '');
  for (const l of LAUNCHERS) {
    const [rank, size] = [env[l.rank], first(l.size)].map(Number);
    if (env[l.rank] === undefined || first(l.size) === undefined) continue;
    if (!Number.isInteger(rank) || !Number.isInteger(size) || rank < 0 || rank >= size) throw usageError(`${l.rank}=${env[l.rank]} and ${l.size[0]}=${first(l.size)}: no rank among so many processes`);
    if (size === 1) return null;
    const machines = l.rank === 'SLURM_PROCID' ? Number(env.SLURM_STEP_NUM_NODES ?? env.SLURM_NNODES ?? 1) : Number(first(l.localSize) ?? size) < size ? 2 : 1;
    if (machines > 1 && !env.MASTER_ADDR) throw usageError(`${size} processes on several machines: set MASTER_ADDR to the name of rank 0's machine (and MASTER_PORT, where 29500 is taken)`);
    const port = env.MASTER_PORT ? Number(env.MASTER_PORT) : portOf(first(l.run) ?? String(process.ppid));
    if (!Number.isInteger(port) || port < 1 || port > 65535) throw usageError(`MASTER_PORT=${env.MASTER_PORT}: no port`);
    return { rank, size, local: Number(first(l.local) ?? rank) || 0, locals: Math.min(size, Number(first(l.localSize)) || size), host: env.MASTER_ADDR || '127.0.0.1', port };
  }
  return null;
}

/** Runs of one machine at the same time have ports of their own. */
const portOf = (run: string): number => 20000 + number(run) % 10000;

const number = (text: string): number => createHash('sha256').update(text).digest().readUIntBE(0, 6);

/** Connects to the other ranks. @throws GraftError (1) where they do not come, or were given another command line */
export function openRanks(place: Place, args: Arguments, warn?: (line: string) => void): Ranks {
  return inRank(() => Ranks.open({ ...place, run: number(JSON.stringify(args.commandLine)) }, warn));
}

/** Errors of the connection are the run's. */
export function inRank<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('ranks: ')) throw new GraftError(error.message.slice('ranks: '.length), EXIT.failed, { cause: error });
    throw error;
  }
}

/** Of several processes the first alone writes files. */
export const writes = (ranks: Pick<Place, 'rank'> | null): boolean => !ranks || ranks.rank === 0;

/** A rank's rows of a batch. Where there are fewer rows than ranks, it computes the first one, which then does not count. */
export function shareOf<T>(rows: readonly T[], { rank, size }: Pick<Place, 'rank' | 'size'>): { rows: readonly T[]; counts: boolean } {
  const own = rows.slice(Math.ceil(rank * rows.length / size), Math.ceil((rank + 1) * rows.length / size));
  return own.length > 0 ? { rows: own, counts: true } : { rows: rows.slice(0, 1), counts: false };
}
