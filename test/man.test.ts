import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
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

for (const [tool, ...args] of [['groff', '-k', '-man', '-Tutf8', '-ww'], ['mandoc', '-Tlint', '-Wwarning']]) {
  test(`${tool} has nothing to say against the pages`, { skip: spawnSync(tool, ['--version']).error ? `${tool} is not installed` : false }, () => {
    for (const name of readdirSync(folder)) {
      const { stdout, stderr } = spawnSync(tool, [...args, fileURLToPath(new URL(name, folder))], { encoding: 'utf8' });
      const said = `${tool === 'mandoc' ? stdout : ''}${stderr}`.split('\n').filter((l) => l !== '' && !l.includes('missing date'));
      assert.deepEqual(said, []);
    }
  });
}
