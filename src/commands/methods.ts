import type { Paper } from '../adapters/method.js';
import { writeOutput } from '../formats/output.js';
import type { Command } from './command.js';
import { common } from './common.js';

const command: Command = {
  name: 'methods',
  summary: 'list the methods and the papers behind them',
  description: ['Prints every method graft knows: adapters (init-adapter), initialisations (svd-init), ways of merging (merge) and test-time methods (tta), with the paper each comes from.'],
  options: common('json'),
  examples: [{ does: 'the catalogue as JSON lines', command: 'graft methods --json' }],

  async run(args) {
    const rows = await catalogue();
    if (args.json) return print(rows.map((r) => `${JSON.stringify(r)}\n`).join(''));
    const widths = [Math.max(...rows.map((r) => r.command.length)), Math.max(...rows.map((r) => r.name.length))];
    const line = ({ command, name, summary, paper }: Row): string => `${command.padEnd(widths[0])}  ${name.padEnd(widths[1])}  ${summary}${paper ? `\n${' '.repeat(widths[0] + widths[1] + 4)}${cite(paper)}` : ''}\n`;
    await print(rows.map(line).join(''));
  },
};

export default command;

const print = (text: string): Promise<void> => writeOutput(undefined, (out) => out.write(text), { text: true });

interface Row { command: string; name: string; summary: string; paper: Paper | null }

async function catalogue(): Promise<Row[]> {
  const [adapters, init, tta, merging] = await Promise.all([import('../adapters/registry.js'), import('../init/registry.js'), import('../tta/registry.js'), import('../merging/registry.js')]);
  const kinds: [string, string[], (name: string) => Promise<{ name: string; summary: string; paper: Paper | null }>][] = [
    ['init-adapter', adapters.methodNames(), adapters.loadMethod],
    ['svd-init', init.initialiserNames(), init.loadInitialiser],
    ['merge', merging.MERGING.map((m) => m.name), async (name) => merging.mergingMethod(name)],
    ['tta', tta.ttaNames(), tta.loadTta],
  ];
  return (await Promise.all(kinds.map(([command, names, load]) => Promise.all(names.map(async (n) => {
    const { name, summary, paper } = await load(n);
    return { command, name, summary, paper };
  }))))).flat();
}

const cite = ({ authors, year, title, url }: Paper): string => `${authors} (${year}). ${title}.${url ? ` ${url}` : ''}`;
