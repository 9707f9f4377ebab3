import { samplesInPlace, type Drawn, type Sampling } from '@graft/kernels';
import type { Pass } from '../models/site.js';
import type { Runtime } from '../runtime.js';
import { Decoder, type Counts } from './decoder.js';
import type { Finished, Search } from './method.js';

/** A prompt and the search that grows texts from it. */
export interface Task { ids: readonly number[]; search: Search; task?: string; domain?: string }

/**
 * Grows texts from several prompts until every search is done; a text that has ended costs nothing more.
 * @param reserve most tokens that will follow a prompt
 */
export function generate(runtime: Runtime, tasks: readonly Task[], reserve: number): { texts: Finished[][]; counts: Counts } {
  const counts: Counts = { passes: 0, tokens: 0 };
  const groups = Decoder.batches(runtime) ? [tasks] : tasks.map((t) => [t]);
  for (const group of groups) {
    const decoder = new Decoder(runtime, group.map((t) => t.ids), reserve, routeOf(group));
    try {
      grow(decoder, group.map((t) => t.search));
    } finally {
      decoder.dispose();
    }
    counts.passes += decoder.counts.passes;
    counts.tokens += decoder.counts.tokens;
  }
  return { texts: tasks.map((t) => t.search.results()), counts };
}

function grow(decoder: Decoder, searches: readonly Search[]): void {
  const read = decoder.start();
  const copies = searches.flatMap((s, i) => new Array<number>(s.width).fill(i));
  if (copies.length > searches.length) decoder.select(copies);
  // What follows the growing texts: logits, or tokens that were drawn where these are.
  let next: readonly (Float32Array | Drawn)[] = copies.map((i) => (searches[i].width > 1 ? read[i].slice() : read[i])), drawn = false;
  let widths = searches.map((s) => s.width);
  const sampling = searches[0].sampling ?? null, draws = sampling !== null && samplesInPlace(sampling) && searches.every((s) => same(s.sampling, sampling));
  for (;;) {
    let first = 0;
    const steps = searches.map((search, i) => {
      const own = next.slice(first, first + widths[i]), from = first;
      first += widths[i];
      const choices = own.length === 0 ? [] : drawn ? search.take!(own as Drawn[]) : search.step(own as Float32Array[]);
      return choices.map((c) => ({ parent: from + c.parent, token: c.token }));
    });
    widths = steps.map((s) => s.length);
    const choices = steps.flat();
    if (choices.length === 0) return;
    drawn = draws;
    next = draws ? decoder.draw(choices, sampling, searches.flatMap((s) => s.uniforms!())) : decoder.next(choices);
  }
}

const same = (a: Sampling | null | undefined, b: Sampling): boolean => !!a && (['temperature', 'topK', 'topP', 'minP', 'typical'] as const).every((key) => a[key] === b[key]);

/** What routed methods choose by; only what all tasks say. */
export function routeOf(tasks: readonly Task[]): Pass['route'] {
  const keys = (['task', 'domain'] as const).filter((key) => tasks.every((t) => t[key] !== undefined));
  return Object.fromEntries(keys.map((key) => [key, tasks.map((t) => t[key]!)]));
}
