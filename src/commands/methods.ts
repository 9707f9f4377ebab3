import type { Listed } from '../catalogue.js';
import { usageError } from '../errors.js';
import { optionUsage, type OptionSpecs } from '../options.js';
import { cite, wrap } from '../prose.js';
import type { Command } from './command.js';
import { common } from './common.js';

const names = async (): Promise<string[]> => {
  const { listMethods } = await import('../catalogue.js');
  return [...new Set((await listMethods()).map((m) => m.name))];
};

const command: Command = {
  name: 'methods',
  summary: 'list the methods and the papers behind them',
  description: [
    'Prints every method graft knows with the command that takes it and the paper it comes from. With NAME it prints that method alone: its summary, its options with their defaults, its paper, and the recipes that run it.',
  ],
  operands: { usage: '[NAME]', describe: 'one method', suggest: names },
  options: common('json'),
  examples: [
    { does: 'one method', command: 'graft methods lora' },
    { does: 'the papers as JSON lines, for a script', command: 'graft methods --json > methods.jsonl' },
  ],

  async run(args) {
    if (args._.length > 1) throw usageError(`methods takes one name, not ${args._.length}`);
    const [name] = args._;
    const [{ listMethods, recipesOf }, { writeOutput }] = await Promise.all([import('../catalogue.js'), import('../formats/output.js')]);
    const all = await listMethods();
    const wanted = name === undefined ? all : all.filter((m) => m.name === name);
    if (wanted.length === 0) throw usageError(`unknown method '${name}': one of ${[...new Set(all.map((m) => m.name))].join(', ')}`);
    const whole = wanted.map((m) => ({ ...m, recipes: recipesOf(m.name) }));
    const brief = (m: Listed): object => ({ command: m.command, name: m.name, summary: m.summary, paper: m.paper });
    const text = args.json ? whole.map((m) => `${JSON.stringify(name === undefined ? brief(m) : m)}\n`).join('')
      : name === undefined ? table(all) : whole.map(entry).join('\n');
    await writeOutput(undefined, (out) => out.write(text), { text: true });
  },
};

export default command;

const WIDTH = 96;

function table(rows: readonly Listed[]): string {
  const [first, second] = [Math.max(...rows.map((r) => r.command.length)), Math.max(...rows.map((r) => r.name.length))];
  return rows.map(({ command: of, name, summary, paper }) =>
    `${of.padEnd(first)}  ${name.padEnd(second)}  ${summary}\n${paper ? `${' '.repeat(first + second + 4)}${cite(paper)}\n` : ''}`).join('');
}

function entry({ command: of, option, name, summary, paper, options, recipes }: Listed & { recipes: string[] }): string {
  return [
    `graft ${of} --${option} ${name}`, ...wrap(summary, WIDTH, 2),
    ...(Object.keys(options).length > 0 ? ['', 'Options:', ...optionLines(options)] : ['', 'It has no options of its own.']),
    ...(paper ? ['', 'Paper:', ...wrap(cite(paper), WIDTH, 2)] : []),
    ...(recipes.length > 0 ? ['', recipes.length > 1 ? 'Recipes:' : 'Recipe:', ...recipes.map((r) => `  make -f ${r}`)] : []),
    '',
  ].join('\n');
}

const optionLines = (specs: OptionSpecs): string[] => Object.entries(specs).flatMap(([name, spec]) => {
  const { flags, value, text } = optionUsage(name, spec);
  return [`  ${flags.join(', ')}${value ? ` ${value}` : ''}`, ...wrap(text, WIDTH, 6)];
});
