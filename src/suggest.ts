import type { Command, Entry } from './commands/command.js';
import { kebab, type OptionSpecs } from './options.js';

/** The name most like a word, where one is like it: no more than a third of its letters changed, added, left out or swapped. */
export function nearest(word: string, names: readonly string[]): string | undefined {
  const ranked = names.map((name) => ({ name, distance: editDistance(word, name) })).sort((a, b) => a.distance - b.distance);
  return ranked.find(({ name, distance }) => distance <= Math.max(1, Math.floor(Math.min(word.length, name.length) / 3)))?.name;
}

/** `; did you mean X?`, or nothing. */
export function didYouMean(word: string, names: readonly string[], prefix = ''): string {
  const found = nearest(word, names);
  return found ? `; did you mean ${prefix}${found}?` : '';
}

/** Letters to change, add, leave out or swap with their neighbour (optimal string alignment). */
function editDistance(a: string, b: string): number {
  const d = Array.from({ length: a.length + 1 }, (_, i) => Array.from({ length: b.length + 1 }, (_, j) => (i === 0 ? j : j === 0 ? i : 0)));
  for (let i = 1; i <= a.length; i++) for (let j = 1; j <= b.length; j++) {
    d[i][j] = Math.min(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + Number(a[i - 1] !== b[j - 1]));
    if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) d[i][j] = Math.min(d[i][j], d[i - 2][j - 2] + 1);
  }
  return d[a.length][b.length];
}

/** What to say of an option that is not there: whose it is (another method's), or which one was meant. */
export async function unknownOption(name: string, command: Command, specs: OptionSpecs, chosen: readonly Entry[]): Promise<string> {
  const flag = name.length === 1 ? `-${name}` : `--${name}`, help = `graft ${command.name} --help`;
  for (const choice of command.choices ?? []) {
    const entries = await Promise.all((await choice.names()).map((n) => choice.load(n)));
    const owners = entries.filter((e) => Object.entries(e.options).some(([n, o]) => kebab(n) === name || o.alias === name)).map((e) => e.name);
    const taken = chosen.find((e) => entries.includes(e))?.name;
    if (owners.length > 0) return `${flag} is an option of ${choice.operand ? `graft ${command.name}` : `--${kebab(choice.option)}`} ${owners.join(', ')}${taken ? `, not of ${taken}` : ''}`;
  }
  return `unknown option ${flag}${didYouMean(name, Object.keys(specs).map(kebab), '--') || `; ${help} lists them`}`;
}

/** Where a method goes that this command does not take: pissa is one of svd-init. */
export async function takenElsewhere(name: string): Promise<string> {
  const others = (await (await import('./catalogue.js')).listMethods()).filter((m) => m.name === name).map((m) => `graft ${m.command} --${m.option} ${name}`);
  return others.length > 0 ? `; there is ${others.join(', ')}` : '';
}
