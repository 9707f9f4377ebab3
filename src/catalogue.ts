import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Paper } from './adapters/method.js';
import { commandSummaries, loadCommand } from './commands/registry.js';
import type { OptionSpecs } from './options.js';

/** A method as the command that takes it knows it. */
export interface Listed { command: string; option: string; name: string; summary: string; paper: Paper | null; options: OptionSpecs }

/** Every method of every command that has a --method, and what goes around them, in the commands' order. */
export async function listMethods(): Promise<Listed[]> {
  const commands = await Promise.all(commandSummaries().map(async ([name]) => (await loadCommand(name))!));
  const choices = commands.flatMap((command) => (command.choices ?? []).filter((c) => c.option === 'method' || c.option === 'around').map((choice) => ({ command, choice })));
  return (await Promise.all(choices.map(async ({ command, choice }) =>
    Promise.all((await choice.names()).map(async (n) => {
      const { name, summary, paper, options } = await choice.load(n);
      return { command: command.name, option: choice.option, name, summary, paper: paper ?? null, options };
    }))))).flat();
}

/**
 * The recipes that run a method, as paths from the root of the project: the one named after it, those that pass it to --method
 * and those that list it in METHODS.
 * @param root the folder that holds fixtures/recipes
 */
export function recipesOf(method: string, root = fileURLToPath(new URL('../..', import.meta.url))): string[] {
  const folder = join(root, 'fixtures/recipes');
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((f) => f.endsWith('.mk')).sort()
    .filter((f) => basename(f, '.mk') === method || mentions(readFileSync(join(folder, f), 'utf8'), method))
    .map((f) => `fixtures/recipes/${f}`);
}

function mentions(recipe: string, method: string): boolean {
  const listed = [...recipe.matchAll(/^METHODS\s*:?=(.*)$/gm)].flatMap(([, names]) => names.trim().split(/\s+/));
  const passed = [...recipe.matchAll(/--(?:method|around)[ =]([\w-]+)/g)].map(([, name]) => name);
  return listed.includes(method) || passed.includes(method);
}
