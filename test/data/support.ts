import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { parseCommandLine } from '../../src/command-line.js';
import command from '../../src/commands/data.js';
import { openTable, type Row, type Table } from '../../src/formats/table.js';

/** A folder of the test's own, gone when it ends. */
export function folder(t: TestContext): (name: string, content?: string | Uint8Array) => string {
  const path = mkdtempSync(join(tmpdir(), 'graft-data-'));
  t.after(() => rmSync(path, { recursive: true }));
  return (name, content) => {
    if (content !== undefined) writeFileSync(join(path, name), content);
    return join(path, name);
  };
}

/** Runs `graft data …` in this process. */
export async function graftData(...argv: string[]): Promise<void> {
  const parsed = await parseCommandLine(command, argv);
  if (!('args' in parsed)) throw new Error('help was asked for');
  await command.run(parsed.args);
}

/** All rows of a file, and the table they came from. */
export async function read(path: string): Promise<{ rows: Row[]; table: Table }> {
  const table = await openTable(path);
  const rows: Row[] = [];
  for await (const batch of table.rows(1000)) rows.push(...batch);
  return { rows, table };
}

/** `graft data …` into a file of this folder, read back. */
export async function produced(file: (name: string) => string, ...argv: string[]): ReturnType<typeof read> {
  const out = file(`out-${Math.abs(argv.join(' ').split('').reduce((h, c) => (h * 31 + c.charCodeAt(0)) | 0, 0))}.arrow`);
  await graftData(...argv, '-o', out);
  return read(out);
}
