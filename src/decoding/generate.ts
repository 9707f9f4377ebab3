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
  let logits = copies.map((i) => (searches[i].width > 1 ? read[i].slice() : read[i]));
  let widths = searches.map((s) => s.width);
  for (;;) {
    let first = 0;
    const steps = searches.map((search, i) => {
      const own = logits.slice(first, first + widths[i]), from = first;
      first += widths[i];
      return own.length === 0 ? [] : search.step(own).map((c) => ({ parent: from + c.parent, token: c.token }));
    });
    widths = steps.map((s) => s.length);
    const choices = steps.flat();
    if (choices.length === 0) return;
    logits = decoder.next(choices);
  }
}

function routeOf(tasks: readonly Task[]): Pass['route'] {
  const keys = (['task', 'domain'] as const).filter((key) => tasks.every((t) => t[key] !== undefined));
  return Object.fromEntries(keys.map((key) => [key, tasks.map((t) => t[key]!)]));
}
