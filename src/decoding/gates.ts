import type { Tensor } from '@graft/kernels';
import type { ActiveGraft } from '../adapters/active.js';
import { usageError } from '../errors.js';
import type { Runtime } from '../runtime.js';
import { Decoder } from './decoder.js';
import { routeOf, type Task } from './generate.js';
import type { Finished } from './method.js';

/** What a graft's gates made of a token of a response: the adapter that weighs most, and the weights of all, as means over modules. */
export interface Gated { token: string; adapter: string; weights: Record<string, number> }

/** What the gates of the one gated graft choose from. @throws GraftError (usage) where none is gated, or several are */
export function gateNames(runtime: Runtime): readonly string[] {
  const gated = runtime.grafts.filter((g: ActiveGraft) => g.method.gated);
  if (gated.length !== 1) throw usageError(`--report gates: ${gated.length === 0 ? 'no graft has gates; graft merge --method meteora makes one that does' : `${gated.length} grafts have gates; give one`}`);
  return gated[0].method.gated!(gated[0].config);
}

/**
 * The gates of every token of the responses, at the token that was read when it was chosen: the one before it. The texts are read once more, each as
 * a whole, so that it does not matter how they were searched for.
 * @param texts of every task
 */
export function gatesOf(runtime: Runtime, tasks: readonly Task[], texts: readonly (readonly Finished[])[]): Gated[][][] {
  const names = gateNames(runtime), N = names.length;
  const all = texts.flatMap((of, i) => of.map((text) => ({ text, task: tasks[i] })));
  const read = (Decoder.batches(runtime) ? [all] : all.map((one) => [one])).flatMap((group) => {
    const ids = group.map(({ text }) => text.ids), sums = new GateSums(ids.map((t) => t.length), N);
    const decoder = new Decoder(runtime, ids, 0, routeOf(group.map(({ task }) => task)), (site, w) => site.role !== 'head' && sums.add(w));
    try {
      decoder.start();
    } finally {
      decoder.dispose();
    }
    return group.map(({ text }, row) => text.ids.slice(text.prompt).map((_, i): Gated => {
      const at = text.prompt + i, weights = sums.mean(row, at - 1), surface = (n: number): string => runtime.tokenizer.surface(text.ids.slice(0, n));
      return { token: surface(at + 1).slice(surface(at).length), adapter: names[weights.indexOf(Math.max(...weights))], weights: Object.fromEntries(names.map((name, k) => [name, weights[k]])) };
    }));
  });
  let next = 0;
  return texts.map((of) => read.slice(next, (next += of.length)));
}

/** Weights [B, T, N], or [1, Σ lengths, N] where texts stand one after another, added up over modules. */
class GateSums {
  private sums = new Float64Array();
  private starts: number[] = [];
  private modules = 0;

  constructor(private readonly lengths: readonly number[], private readonly N: number) {}

  add(w: Tensor): void {
    const [rows, width] = w.shape, values = w.dataSync<'float32'>(), longest = Math.max(...this.lengths);
    if (this.modules++ === 0) {
      let next = 0;
      this.sums = new Float64Array(values.length);
      // Prompts that are no tokens stand before a text.
      this.starts = this.lengths.map((n, b) => (rows === this.lengths.length ? b * width + width - longest : (next += n) - n));
    }
    values.forEach((v, i) => { this.sums[i] += v; });
  }

  mean(row: number, token: number): number[] {
    const first = (this.starts[row] + token) * this.N;
    return [...this.sums.subarray(first, first + this.N)].map((v) => v / this.modules);
  }
}
