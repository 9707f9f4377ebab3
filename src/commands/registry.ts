import type { Command } from './command.js';

/** Every subcommand with its line in `graft --help`; its module is loaded when it is run. */
const COMMANDS: Record<string, { summary: string; load: () => Promise<{ default: Command }> }> = {
  'init-model': { summary: 'make a checkpoint with random weights from a config.json', load: () => import('./init-model.js') },
  'init-adapter': { summary: 'make a new graft for a model', load: () => import('./init-adapter.js') },
  'svd-init': { summary: 'start a graft from the weights or the data', load: () => import('./svd-init.js') },
  train: { summary: 'train a graft', load: () => import('./train.js') },
  merge: { summary: 'fold grafts into a model, or merge grafts or checkpoints', load: () => import('./merge.js') },
  tta: { summary: 'predict a stream while adapting to it', load: () => import('./tta.js') },
  predict: { summary: 'predict data, labelled or not', load: () => import('./predict.js') },
  eval: { summary: 'measure predictions', load: () => import('./eval.js') },
  generate: { summary: 'continue prompts, or make images', load: () => import('./generate.js') },
  data: { summary: 'import, transform and corrupt data', load: () => import('./data.js') },
  plot: { summary: 'draw logs, metrics and grafts', load: () => import('./plot.js') },
  inspect: { summary: 'show what is in a file', load: () => import('./inspect.js') },
  convert: { summary: 'change the format of a file', load: () => import('./convert.js') },
  methods: { summary: 'list the methods and the papers behind them', load: () => import('./methods.js') },
  completion: { summary: 'print a completion script for a shell', load: () => import('./completion.js') },
};

export const commandSummaries = (): [string, string][] => Object.entries(COMMANDS).map(([name, { summary }]) => [name, summary]);

export async function loadCommand(name: string): Promise<Command | undefined> {
  return Object.hasOwn(COMMANDS, name) ? (await COMMANDS[name].load()).default : undefined;
}
