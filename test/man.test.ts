import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { commandSummaries, loadCommand } from '../src/commands/registry.js';
import { manualPages } from '../src/man.js';

const folder = new URL('../../man/', import.meta.url);

test('man/ is what the definitions give; npm run man writes it', async () => {
  const pages = await manualPages();
  assert.deepEqual(readdirSync(folder).sort(), [...pages.keys()].sort());
  for (const [name, page] of pages) assert.equal(readFileSync(new URL(name, folder), 'utf8'), page, `man/${name} is out of date`);
});

test('graft --help and the commands themselves agree', async () => {
  for (const [name, summary] of commandSummaries()) {
    const command = (await loadCommand(name))!;
    assert.equal(command.name, name);
    assert.equal(command.summary, summary);
  }
});
