import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Work } from './work.js';

interface Answer { error?: string; seconds: number; bytes: number; [fact: string]: unknown }

/** A process that does pieces of work when asked; see peers.py for the conversation. */
export class Side {
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;
  private last = '';
  /** It has ended, or was stopped. */
  over = false;

  constructor(command: string, args: string[], environment: Record<string, string> = {}) {
    // NumPy's OpenBLAS chooses its kernels itself; machines that force a choice would make it slower than it is.
    const { OPENBLAS_CORETYPE: _, OPENBLAS_L2_SIZE: __, ...rest } = process.env;
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...rest, TRANSFORMERS_VERBOSITY: 'error', HF_HUB_DISABLE_PROGRESS_BARS: '1', ...environment } });
    this.child.stdin!.on('error', () => {}); // it ended: that shows in its answer
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.last = (this.last + text).slice(-4000);
      if (process.env.GRAFT_DEBUG) process.stderr.write(text);
    });
    this.child.on('error', (error) => { this.last = error.message; });
    this.lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
  }

  /** @throws Error, one line, with what it says went wrong; where it ends or takes longer than so many seconds, it is over */
  async ask(question: object, seconds = Infinity): Promise<Answer> {
    this.child.stdin!.write(`${JSON.stringify(question)}\n`);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => { if (seconds < Infinity) timer = setTimeout(resolve, 1000 * seconds, 'late'); });
    const got = await Promise.race([this.lines.next(), late]);
    clearTimeout(timer);
    if (got === 'late') {
      this.stop();
      throw new Error(`stopped after ${seconds.toFixed(0)} s`);
    }
    if (got.done) {
      this.over = true;
      await new Promise((resolve) => setTimeout(resolve, 100)); // its last words may still be on their way
      throw new Error(`the process ended: ${this.last.trim().split('\n').at(-1) || `signal ${this.child.signalCode}, status ${this.child.exitCode}`}`);
    }
    const answer = JSON.parse(got.value) as Answer;
    if (answer.error) throw new Error(answer.error);
    return answer;
  }

  open = (work: Work, limit?: number): Promise<unknown> => this.ask({ open: work }, limit);
  seconds = async (limit?: number): Promise<number> => (await this.ask({ run: true }, limit)).seconds;
  /** The most memory the work took. */
  bytes = async (): Promise<number> => (await this.ask({ memory: true })).bytes;

  /** Lets it go. */
  close(): void {
    this.over = true;
    this.child.stdin!.end();
  }

  private stop(): void {
    this.over = true;
    this.child.kill('SIGKILL');
  }
}

export const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1];
