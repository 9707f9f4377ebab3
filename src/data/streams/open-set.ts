import { dataError } from '../../errors.js';
import { flat, type StreamSetting } from './stream.js';

/**
 * UniEnt's open-set stream (Gao et al. 2024): of each domain B rows of known classes, then B of unknown ones, and so on; a batch of 2B
 * holds both. It ends where either kind does. Which rows are unknown says the column is_ood.
 */
export const openSet: StreamSetting = {
  name: 'open-set', summary: 'each domain with as many rows of unknown classes (column is_ood) as of known ones, in turns',
  options: { known: { type: 'number', metavar: 'B', describe: 'open-set: rows of each kind in a turn; batches of twice as many hold both', default: 100, min: 1 } },
  needs: ['is_ood'],
  order: ({ domains, is_ood: ood }, rng, { known }) => flat(domains.map(({ name, rows }) => {
    const [inside, outside] = [false, true].map((unknown) => rng.shuffle(rows.filter((r) => ood![r] === unknown)));
    if (inside.length === 0 || outside.length === 0) throw dataError(`domain '${name}': has no rows of ${inside.length === 0 ? 'known' : 'unknown'} classes (column is_ood)`);
    const B = Number(known), turns = Math.ceil(Math.min(inside.length, outside.length) / B), pairs = Math.min(inside.length, outside.length);
    return flat(Array.from({ length: turns }, (_, t) => [inside, outside].map((part) => part.subarray(t * B, Math.min(pairs, (t + 1) * B)))).flat());
  })),
};
