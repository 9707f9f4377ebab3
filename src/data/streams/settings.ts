import { usageError } from '../../errors.js';
import { dirichletOrder } from './dirichlet.js';
import { labelShift, longTail } from './imbalance.js';
import { openSet } from './open-set.js';
import { flat, type StreamRows, type StreamSetting } from './stream.js';

/** CoTTA (Wang et al. 2022): all rows of one domain, then the next. */
const continual: StreamSetting = {
  name: 'continual', summary: 'one domain after another', options: {}, needs: [],
  order: ({ domains }) => flat(domains.map((d) => d.rows)),
};

const mixed: StreamSetting = {
  name: 'mixed', summary: 'all domains shuffled together', options: {}, needs: [],
  order: ({ domains }, rng) => rng.shuffle(flat(domains.map((d) => d.rows))),
};

const bySeverity = (rows: StreamRows, severities: (domain: number) => readonly number[]): Uint32Array =>
  flat(rows.domains.flatMap((d, i) => severities(i).map((s) => d.rows.filter((r) => rows.severity![r] === s))));

const UP_AND_DOWN = [1, 2, 3, 4, 5, 4, 3, 2, 1];

/** CoTTA: severities change by one; the first domain begins at the worst. */
const gradual: StreamSetting = {
  name: 'gradual', summary: 'severities 5 to 1 of the first domain, then 1 to 5 and back of each further one', options: {}, needs: ['severity'],
  order: (rows) => bySeverity(rows, (i) => (i === 0 ? [5, 4, 3, 2, 1] : UP_AND_DOWN)),
};

/** RMT (Döbler et al. 2023). */
const gradualSym: StreamSetting = {
  name: 'gradual-sym', summary: 'severities 1 to 5 and back of every domain', options: {}, needs: ['severity'],
  order: (rows) => bySeverity(rows, () => UP_AND_DOWN),
};

const deltaOption = { delta: { type: 'number', metavar: 'D', describe: 'concentration of the Dirichlet distribution; 0 sorts by label', default: 0.1, min: 0 } } as const;

/** NOTE (Gong et al. 2022), RoTTA (Yuan et al. 2023): labels come in runs. */
const correlated: StreamSetting = {
  name: 'correlated', summary: 'like continual, with the labels of each domain in runs', options: deltaOption, needs: ['label'],
  order: ({ domains, label }, rng, { delta }) => flat(domains.map(({ rows }) => dirichletOrder(rows, label!, delta as number, rng))),
};

/** RMT (Döbler et al. 2023). */
const mixedCorrelated: StreamSetting = {
  name: 'mixed-correlated', summary: 'like mixed, with the labels in runs', options: deltaOption, needs: ['label'],
  order: ({ domains, label }, rng, { delta }) => dirichletOrder(rng.shuffle(flat(domains.map((d) => d.rows))), label!, delta as number, rng),
};

const SETTINGS: readonly StreamSetting[] = [continual, mixed, gradual, gradualSym, correlated, mixedCorrelated, labelShift, longTail, openSet];

export const settingNames = (): string[] => SETTINGS.map((s) => s.name);
export const settings = (): readonly StreamSetting[] => SETTINGS;

/** @throws GraftError (usage) for an unknown name */
export function settingNamed(name: string): StreamSetting {
  const found = SETTINGS.find((s) => s.name === name);
  if (!found) throw usageError(`unknown setting '${name}': one of ${settingNames().join(', ')}`);
  return found;
}
