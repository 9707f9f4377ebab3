import type { Row } from '../formats/rows.js';
import type { Pass } from '../models/site.js';
import type { Example, Objective, Preparation } from '../objectives/objective.js';

const KEYS = ['task', 'domain'] as const;

/** An objective's examples of some rows, each with what the row says of its task and domain, which routed methods choose by. */
export async function prepareRows(objective: Objective, rows: readonly Row[], first: number, p: Preparation): Promise<Example[]> {
  const examples = await objective.prepare(rows, first, p);
  if (examples.length !== rows.length) return examples;
  for (const key of KEYS.filter((k) => p.table.columns.includes(k))) {
    const names = p.table.classNames(key);
    rows.forEach((row, i) => {
      const value = row[key];
      if (value !== null && value !== undefined) examples[i][key] = (typeof value === 'number' && names?.[value]) || String(value);
    });
  }
  return examples;
}

/** The routing keys of a batch; those that an example lacks are left out. */
export function routeOf(examples: readonly Example[]): Pass['route'] {
  return Object.fromEntries(KEYS.filter((key) => examples.every((e) => e[key] !== undefined)).map((key) => [key, examples.map((e) => e[key]!)]));
}
